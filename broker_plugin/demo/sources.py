# SPDX-License-Identifier: BSD-3-Clause
"""What a simulated source is, and what is needed to draw one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from broker_plugin.demo.light import Law

__all__ = ["Draw", "Host", "Sky", "Source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A galaxy beside which a transient is seen."""

    mag_r: float
    temperature_k: float
    offset_arcsec: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One simulated source.

    Parameters
    ----------
    kind
        What it is, for people.
    law
        Its light.
    label
        Its class in the taxonomy, None where no class describes it.
    context
        What a packet of ZTF would say: `stellar`, `galaxy_host`, `solar_system` or `artefact`. LSST's say
        nothing of galaxies, and `stellar` only of what was seen before.
    planted
        For a planted oddity, what is odd about it.
    hard
        Whether the oddity may well be missed.
    """

    kind: str
    law: Law
    label: str | None = None
    context: str = "stellar"
    period_day: float | None = None
    host: Host | None = None
    planted: str | None = None
    hard: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sky:
    """What a draw needs to know: its random numbers, tonight, and the survey's range of brightness."""

    rng: np.random.Generator
    night_mjd: float
    bright_mag: float
    faint_mag: float

    def mag(self, *, spread: float = 1.0) -> float:
        """Draw a mean magnitude; a smaller `spread` keeps to the bright end."""
        range_mag = (self.faint_mag - self.bright_mag) * spread
        return self.bright_mag + range_mag * float(np.sqrt(self.rng.random()))

    def epoch(self) -> float:
        """Draw a time of maximum light or of conjunction, any phase being as likely."""
        return self.night_mjd - float(self.rng.uniform(0.0, 1000.0))


Draw = Callable[[Sky], Source]
