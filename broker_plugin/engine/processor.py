# SPDX-License-Identifier: BSD-3-Clause
"""What the processor is and how fast it multiplies: rates mean nothing without it."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from broker_plugin.engine.providers import cpu_choice
from broker_plugin.engine.runtime import open_raw_session

__all__ = ["PRODUCT", "PRODUCT_SHAPE", "Processor", "describe_processor", "matmul_gflops"]

FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "sve", "bf16")
"""Instruction sets on which the speed of a graph depends, as Linux spells them."""

PRODUCT_SHAPE = (1024, 512, 512)
"""Rows, inner length and columns of the product that is timed: about that of an encoder's layer at a batch of
32 light curves with 32 epochs, large enough that the call itself does not count."""

PRODUCT = bytes.fromhex(
    "08083a5b0a110a01610a016212016322064d61744d756c1201705a150a016112100a0e0801120a0a030880080a03"
    "0880045a150a016212100a0e0801120a0a030880040a0308800462150a016312100a0e0801120a0a030880080a03"
    "08800442040a001011"
)
"""An ONNX graph: `c` = `a` `b`, of `PRODUCT_SHAPE`."""

TIMED_S = 0.3
"""How long products are timed. Shorter, and a processor that wakes from rest is measured asleep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """A processor's name, the cores that this process may use, and those of `FEATURES` that it has."""

    name: str
    cores: int
    features: tuple[str, ...]


def describe_processor() -> Processor:
    """Return what this machine's processor is; without features where the system does not tell."""
    fields = _cpuinfo()
    flags = f"{fields.get('flags', '')} {fields.get('Features', '')}".split()
    affinity = getattr(os, "sched_getaffinity", None)
    return Processor(
        name=fields.get("model name") or platform.processor() or platform.machine(),
        cores=len(affinity(0)) if affinity else os.cpu_count() or 1,
        features=tuple(feature for feature in FEATURES if feature in flags),
    )


def matmul_gflops(*, threads: int = 1) -> float:
    """Return the rate of fp32 matrix products on the CPU, through the same library as the graphs, GFLOP/s.

    Takes about `TIMED_S`. The best of many is taken, since whatever disturbs a product only makes it slower.
    """
    rows, inner, columns = PRODUCT_SHAPE
    choice = cpu_choice()
    session = open_raw_session(PRODUCT, choice.provider, choice.options, threads=threads)
    factors = {"a": np.ones((rows, inner), np.float32), "b": np.ones((inner, columns), np.float32)}
    best_s, end_s = np.inf, time.perf_counter() + TIMED_S
    while (start_s := time.perf_counter()) < end_s:
        session.run(None, factors)
        best_s = min(best_s, time.perf_counter() - start_s)
    return 2 * rows * inner * columns / best_s / 1e9


def _cpuinfo() -> dict[str, str]:
    """Return the first processor's entry in Linux's account of them, or nothing elsewhere."""
    try:
        entry = Path("/proc/cpuinfo").read_text("utf-8").split("\n\n", 1)[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in entry.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
