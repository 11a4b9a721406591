# SPDX-License-Identifier: BSD-3-Clause
"""Work timed on the wall and on the processor, and the median of several times."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Effort", "Rate", "median_rate", "rounds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a piece of work took: seconds on the wall, and of all processors that worked on it."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Alerts a second.

    Parameters
    ----------
    alerts_per_s
        As a clock on the wall sees it, with all processes at work.
    alerts_per_cpu_s
        Of one core that does nothing else: what other users of the machine take does not count.
    repeats, spread
        How often it was measured, and how far apart slowest and fastest are, as a share of the median.
    """

    alerts_per_s: float
    alerts_per_cpu_s: float
    repeats: int
    spread: float

    def as_json(self) -> dict[str, Any]:
        """Return the numbers, rounded to what they are worth."""
        return {
            "alerts_per_s": round(self.alerts_per_s, 1),
            "alerts_per_cpu_s": round(self.alerts_per_cpu_s, 1),
            "repeats": self.repeats,
            "spread": round(self.spread, 3),
        }


def median_rate(n: int, efforts: Sequence[Effort]) -> Rate:
    """Return the rate at which `n` alerts were worked on, several times.

    Examples
    --------
    >>> median_rate(10, [Effort(wall_s=1.0, cpu_s=2.0)] * 3).alerts_per_cpu_s
    5.0
    """
    cpu = [effort.cpu_s for effort in efforts]
    return Rate(
        alerts_per_s=n / median(effort.wall_s for effort in efforts),
        alerts_per_cpu_s=n / median(cpu),
        repeats=len(efforts),
        spread=(max(cpu) - min(cpu)) / median(cpu),
    )


def rounds(
    works: Mapping[str, Callable[[], object]], *, repeats: int, least_s: float
) -> dict[str, NDArray[np.float64]]:
    """Return the processor seconds of pieces of work (repeats,), measured in turn, round by round.

    What disturbs the machine for a while disturbs all of them alike. One round before warms up.

    Parameters
    ----------
    least_s
        Processor time of one measurement; a piece is done over and over until it took as long.

    Examples
    --------
    >>> seconds = rounds({"sum": lambda: sum(range(1000))}, repeats=2, least_s=0.0)
    >>> seconds["sum"].shape
    (2,)
    """
    passes = {name: max(1, round(least_s / max(_cpu_s(work, 1), 1e-6))) for name, work in works.items()}
    found = [{name: _cpu_s(work, passes[name]) for name, work in works.items()} for _ in range(repeats)]
    return {name: np.array([each[name] for each in found]) for name in works}


def _cpu_s(work: Callable[[], object], passes: int) -> float:
    begun = time.process_time()
    for _ in range(passes):
        work()
    return (time.process_time() - begun) / passes
