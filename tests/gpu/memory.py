# SPDX-License-Identifier: BSD-3-Clause
"""Memory of the device while batches of every size and length pass through the graphs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from broker_plugin.engine.scorer import Scorer
from broker_plugin.nvml import GpuReader
from broker_plugin.records import Alert, AlertBatch
from tests.support.memory import resident_mb

__all__ = ["BATCHES", "LARGEST", "memory_over_batches", "used_mb"]

MEGABYTE = 1e6

BATCHES, LARGEST = 40, 600
"""Enough for every length to be met at every size of its batches, and twice the largest of a graph."""


def used_mb(device: str) -> float:
    """Return the memory in use of all GPUs, or of this process where it computes on the processor, MB."""
    if device == "cuda":
        return sum(gpu.memory_used_bytes for gpu in GpuReader().read()) / MEGABYTE
    return resident_mb()


def memory_over_batches(
    scorer: Scorer, alerts: Sequence[Alert], *, batches: int = BATCHES, largest: int = LARGEST
) -> dict[str, list[float]]:
    """Return the memory in use (MB) when the graphs have run at all shapes, and after each batch since.

    The batches have 1 to `largest` alerts, drawn anew for each.
    """
    device, rng = str(scorer.provider.device), np.random.default_rng(7)
    scorer.warm_up()
    every = AlertBatch.from_alerts(list(alerts))
    scorer.score(every.take(rng.integers(0, len(every), largest)))
    ready = used_mb(device)
    since = []
    for _ in range(batches):
        rows = rng.integers(0, len(every), rng.integers(1, largest + 1))
        scorer.score(every.take(rows))
        since.append(used_mb(device))
    return {"ready": [ready], "since": since}
