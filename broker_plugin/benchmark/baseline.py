# SPDX-License-Identifier: BSD-3-Clause
"""The baseline, measured on the same messages in the same run.

It needs torch and scikit-learn, which the runtime never imports: it is a command of the trainer, and runs in
processes of its own.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker_plugin.benchmark.measuring import Clock

__all__ = ["Baseline", "measure_baseline"]

NEEDED = ("torch", "sklearn")

TIMEOUT_S = 900.0
"""Eager torch is slow, but not so slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The rates of the plain pipeline, or why there are none.

    Parameters
    ----------
    what
        What it is made of.
    rates
        By corpus: `alerts_per_s`, `alerts_per_cpu_s` and how they were measured.
    missing
        Why it could not be measured; empty where it was.
    """

    what: Mapping[str, Any] = field(default_factory=dict)
    rates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    missing: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {"missing": self.missing} if self.missing else {**self.what, "rates": dict(self.rates)}

    def ratios(
        self, name: str, rate: Mapping[str, Any], clock: Clock = Clock.PROCESSOR
    ) -> dict[str, float | None]:
        """Return how many times as fast as the baseline a rate is: by the clock that counts, and on the wall.

        Examples
        --------
        >>> plain = {"ztf": {"alerts_per_cpu_s": 50.0, "alerts_per_s": 100.0}}
        >>> Baseline(rates=plain).ratios("ztf", {"alerts_per_cpu_s": 1000.0, "alerts_per_s": 1500.0})
        {'ratio_to_baseline': 20.0, 'ratio_to_baseline_wall': 15.0}
        >>> Baseline(missing="no torch").ratios("ztf", {})["ratio_to_baseline"] is None
        True
        """
        plain = self.rates.get(name)
        if plain is None:
            return {"ratio_to_baseline": None, "ratio_to_baseline_wall": None}
        keys = {Clock.PROCESSOR: "alerts_per_cpu_s", Clock.WALL: "alerts_per_s"}
        by = {each: round(rate[key] / plain[key], 2) for each, key in keys.items()}
        return {"ratio_to_baseline": by[clock], "ratio_to_baseline_wall": by[Clock.WALL]}


def measure_baseline(
    corpora: Path, names: Sequence[str], *, workers: int, repeats: int, batches: int
) -> Baseline:
    """Measure the plain pipeline.

    Parameters
    ----------
    corpora, names
        Where the corpora are, and which of them to take.
    workers, repeats, batches
        Processes, measurements, and batches of 64 alerts that each process has in one of them.
    """
    lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if lacking:
        return Baseline(missing=f"the baseline needs {' and '.join(lacking)}; pip install '.[train]'")
    out = corpora / "baseline.json"
    command = [sys.executable, "-m", "trainer", "baseline", *names, "--corpora", str(corpora)]
    numbers = {"workers": workers, "repeats": repeats, "batches": batches}
    flags = [part for name, number in numbers.items() for part in (f"--{name}", str(number))]
    try:
        ended = subprocess.run(  # noqa: S603  # our own module, on paths of our own
            [*command, *flags, "--out", str(out)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Baseline(missing=f"the baseline took longer than {TIMEOUT_S:.0f} s; measure it with --quick")
    if ended.returncode != 0:
        last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return Baseline(missing=f"the baseline ended with status {ended.returncode}: {last}")
    found = json.loads(out.read_text("utf-8"))
    return Baseline(what=found["what"], rates=found["rates"])
