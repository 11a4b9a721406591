# SPDX-License-Identifier: BSD-3-Clause
"""Work timed on the wall and on the processor, and the median of several times."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.engine.providers import Device, ProviderChoice

__all__ = ["Clock", "Effort", "Rate", "clock_of", "effort", "median_rate", "rounds"]


class Clock(StrEnum):
    """Whose time counts: that of the processors, or that on the wall."""

    PROCESSOR = "processor"
    WALL = "wall"


def clock_of(choice: ProviderChoice) -> Clock:
    """Return the clock for work on a device: a GPU's own time is no processor's.

    Examples
    --------
    >>> from broker_plugin.engine.providers import cpu_choice
    >>> str(clock_of(cpu_choice()))
    'processor'
    """
    return Clock.WALL if choice.device is Device.CUDA else Clock.PROCESSOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a piece of work took: seconds on the wall, and of all processors that worked on it."""

    wall_s: float
    cpu_s: float

    def by(self, clock: Clock) -> float:
        """Return the seconds of one clock."""
        return self.wall_s if clock is Clock.WALL else self.cpu_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Alerts a second.

    Parameters
    ----------
    alerts_per_s
        As a clock on the wall sees it, with all processes at work.
    alerts_per_cpu_s
        Of one core that does nothing else: what other users of the machine take does not count.
    repeats
        How often it was measured.
    spread, spread_wall
        How far apart slowest and fastest are, as a share of the median: by processor time, and on the wall.
    """

    alerts_per_s: float
    alerts_per_cpu_s: float
    repeats: int
    spread: float
    spread_wall: float

    def as_json(self) -> dict[str, Any]:
        """Return the numbers, rounded to what they are worth."""
        return {
            "alerts_per_s": round(self.alerts_per_s, 1),
            "alerts_per_cpu_s": round(self.alerts_per_cpu_s, 1),
            "repeats": self.repeats,
            "spread": round(self.spread, 3),
            "spread_wall": round(self.spread_wall, 3),
        }


def median_rate(n: int, efforts: Sequence[Effort]) -> Rate:
    """Return the rate at which `n` alerts were worked on, several times.

    Examples
    --------
    >>> median_rate(10, [Effort(wall_s=1.0, cpu_s=2.0)] * 3).alerts_per_cpu_s
    5.0
    """
    wall, cpu = ([each.by(clock) for each in efforts] for clock in (Clock.WALL, Clock.PROCESSOR))
    return Rate(
        alerts_per_s=n / median(wall),
        alerts_per_cpu_s=n / median(cpu),
        repeats=len(efforts),
        spread=_spread(cpu),
        spread_wall=_spread(wall),
    )


def rounds(
    works: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    least_s: float,
    clock: Clock = Clock.PROCESSOR,
) -> dict[str, NDArray[np.float64]]:
    """Return the seconds of pieces of work (repeats,), measured in turn, round by round.

    What disturbs the machine for a while disturbs all of them alike. One round before warms up.

    Parameters
    ----------
    least_s
        Time of one measurement; a piece is done over and over until it took as long.
    clock
        Whose seconds.

    Examples
    --------
    >>> seconds = rounds({"sum": lambda: sum(range(1000))}, repeats=2, least_s=0.0)
    >>> seconds["sum"].shape
    (2,)
    """
    passes = {
        name: max(1, round(least_s / max(effort(work).by(clock), 1e-6))) for name, work in works.items()
    }
    found = [
        {name: effort(work, passes=passes[name]).by(clock) for name, work in works.items()}
        for _ in range(repeats)
    ]
    return {name: np.array([each[name] for each in found]) for name in works}


def effort(work: Callable[[], object], *, passes: int = 1) -> Effort:
    """Do a piece of work in this process, several times over, and return what it took once."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(passes):
        work()
    return Effort(wall_s=(time.perf_counter() - wall) / passes, cpu_s=(time.process_time() - cpu) / passes)


def _spread(seconds: Sequence[float]) -> float:
    return (max(seconds) - min(seconds)) / median(seconds)
