# SPDX-License-Identifier: BSD-3-Clause
"""Ordinary sources of a simulated night: variable stars, transients, active galaxies, moving objects.

Every kind is drawn from a plain parametrisation of what is known of it; none of the numbers comes from the
training set, and nothing here is ever used for training or calibration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from broker_plugin.demo.light import (
    SHAPES,
    Law,
    damped_random_walk,
    eclipses,
    magnified,
    pulsation,
    pulsator,
    spots,
    steady,
)
from broker_plugin.demo.transients import (
    dwarf_nova_outburst,
    flares,
    microlensing,
    type_ia_supernova,
)

__all__ = ["ORDINARY", "Draw", "Host", "Sky", "Source"]

WALK_START_DAY = 1000.0
"""How long before the night a flickering source's history begins: longer than any reference image's age."""


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
        What a packet would say: `stellar`, `galaxy_host`, `solar_system` or `artefact`.
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


def draw_rrab(sky: Sky) -> Source:
    """Draw an RR Lyrae star in the fundamental mode: long periods have small amplitudes (Bailey)."""
    period = float(np.clip(sky.rng.normal(0.57, 0.06), 0.42, 0.78))
    amplitude = float(np.clip(1.35 - 3.4 * (period - 0.45) + sky.rng.normal(0, 0.1), 0.35, 1.5))
    mode = pulsation(shape=SHAPES["RRAB"], period_day=period, epoch_mjd=sky.epoch(), amplitude_mag=amplitude)
    law = pulsator(steady(mag_r=sky.mag(), temperature_k=6500.0), [mode])
    return Source(kind="RR Lyrae ab", label="RRAB", law=law, period_day=period)


def draw_rrc(sky: Sky) -> Source:
    """Draw an RR Lyrae star in the first overtone: nearly a sine, of about half a magnitude."""
    period = float(np.clip(sky.rng.normal(0.32, 0.03), 0.24, 0.41))
    amplitude = float(sky.rng.uniform(0.38, 0.6))
    mode = pulsation(shape=SHAPES["RRC"], period_day=period, epoch_mjd=sky.epoch(), amplitude_mag=amplitude)
    law = pulsator(steady(mag_r=sky.mag(), temperature_k=7100.0), [mode])
    return Source(kind="RR Lyrae c", label="RRC", law=law, period_day=period)


def draw_rrd(sky: Sky) -> Source:
    """Draw an RR Lyrae star in two modes at once, their periods in the ratio of the Petersen diagram."""
    fundamental = float(sky.rng.uniform(0.46, 0.56))
    overtone = fundamental * float(sky.rng.uniform(0.743, 0.747))
    modes = [
        pulsation(shape=SHAPES["RRC"], period_day=overtone, epoch_mjd=sky.epoch(), amplitude_mag=0.42),
        pulsation(shape=SHAPES["RRAB"], period_day=fundamental, epoch_mjd=sky.epoch(), amplitude_mag=0.22),
    ]
    law = pulsator(steady(mag_r=sky.mag(), temperature_k=6800.0), modes)
    return Source(kind="RR Lyrae d", label="RRD", law=law, period_day=overtone)


def draw_ew(sky: Sky) -> Source:
    """Draw a contact binary: equal minima of two deformed stars; hotter at longer periods."""
    period = float(sky.rng.uniform(0.24, 0.55))
    primary = float(sky.rng.uniform(0.22, 0.5))
    share = eclipses(
        period_day=period,
        epoch_mjd=sky.epoch(),
        depths=(primary, primary * float(sky.rng.uniform(0.8, 1.0))),
        width=1.0,
        contact=True,
    )
    law = magnified(steady(mag_r=sky.mag(), temperature_k=4200.0 + 5000.0 * (period - 0.22)), share)
    return Source(kind="contact binary", label="EW", law=law, period_day=period)


def draw_ea(sky: Sky) -> Source:
    """Draw a detached binary: flat light and two eclipses of the same length."""
    period = float(np.exp(sky.rng.uniform(np.log(0.6), np.log(6.0))))
    primary = float(sky.rng.uniform(0.3, 0.75))
    share = eclipses(
        period_day=period,
        epoch_mjd=sky.epoch(),
        depths=(primary, primary * float(sky.rng.uniform(0.05, 0.8))),
        width=float(sky.rng.uniform(0.08, 0.2)),
        contact=False,
    )
    law = magnified(steady(mag_r=sky.mag(), temperature_k=float(sky.rng.uniform(5500, 9000))), share)
    return Source(kind="detached binary", label="EA", law=law, period_day=period)


def draw_dsct(sky: Sky) -> Source:
    """Draw a high-amplitude delta Scuti star."""
    period = float(sky.rng.uniform(0.045, 0.18))
    mode = pulsation(
        shape=SHAPES["DSCT"],
        period_day=period,
        epoch_mjd=sky.epoch(),
        amplitude_mag=float(sky.rng.uniform(0.35, 0.8)),
    )
    law = pulsator(steady(mag_r=sky.mag(), temperature_k=7500.0), [mode])
    return Source(kind="delta Scuti", label="DSCT", law=law, period_day=period)


def draw_lpv(sky: Sky) -> Source:
    """Draw a Mira or semi-regular variable: red, slow, and no two cycles quite alike."""
    mira = sky.rng.random() < 0.5
    period = float(sky.rng.uniform(180, 450) if mira else sky.rng.uniform(60, 250))
    amplitude = float(sky.rng.uniform(2.5, 5.0) if mira else sky.rng.uniform(0.5, 1.8))
    modes = [
        pulsation(
            shape=SHAPES["LPV"],
            period_day=length,
            epoch_mjd=sky.epoch(),
            amplitude_mag=height,
            colour=-1.6,
        )
        for length, height in ((period, amplitude), (period * 2.7, amplitude * 0.15))
    ]
    law = pulsator(steady(mag_r=sky.mag(spread=0.6), temperature_k=3200.0), modes)
    return Source(kind="Mira" if mira else "semi-regular", label="LPV", law=law, period_day=period)


def draw_cepheid(sky: Sky) -> Source:
    """Draw a type II Cepheid, BL Herculis or W Virginis."""
    period = float(np.exp(sky.rng.uniform(np.log(1.2), np.log(20.0))))
    mode = pulsation(
        shape=SHAPES["CEP"],
        period_day=period,
        epoch_mjd=sky.epoch(),
        amplitude_mag=float(sky.rng.uniform(0.6, 1.1)),
    )
    law = pulsator(steady(mag_r=sky.mag(spread=0.6), temperature_k=5800.0), [mode])
    return Source(kind="type II Cepheid", label="CEP", law=law, period_day=period)


def draw_rotator(sky: Sky) -> Source:
    """Draw a spotted star that rotates."""
    period = float(np.exp(sky.rng.uniform(np.log(0.8), np.log(25.0))))
    change = spots(
        period_day=period,
        epoch_mjd=sky.epoch(),
        amplitude=float(sky.rng.uniform(0.18, 0.4)),
        second=float(sky.rng.uniform(0.1, 0.5)),
    )
    law = pulsator(steady(mag_r=sky.mag(spread=0.7), temperature_k=4700.0), [change])
    return Source(kind="spotted star", label="ROT", law=law, period_day=period)


def draw_supernova(sky: Sky) -> Source:
    """Draw a type Ia supernova in a galaxy, between a week before and six weeks after maximum."""
    redshift = float(sky.rng.uniform(0.02, 0.07 if sky.faint_mag < 20.5 else 0.3))
    law, peak_mag = type_ia_supernova(
        redshift=redshift,
        peak_mjd=sky.night_mjd - float(sky.rng.uniform(-7, 35)),
        stretch=float(sky.rng.normal(1.0, 0.08)),
    )
    host = Host(
        mag_r=peak_mag + float(sky.rng.normal(0.5, 0.8)),
        temperature_k=4800.0,
        offset_arcsec=float(np.abs(sky.rng.normal(0, 2.0))) + 0.3,
    )
    return Source(kind="supernova Ia", law=law, context="galaxy_host", host=host)


def draw_active_galaxy(sky: Sky) -> Source:
    """Draw an active nucleus that flickers as a damped random walk."""
    change = damped_random_walk(
        sky.rng,
        start_mjd=sky.night_mjd - WALK_START_DAY,
        stop_mjd=sky.night_mjd + 2.0,
        tau_day=float(np.exp(sky.rng.normal(np.log(200.0), 0.4))),
        scatter_mag=float(sky.rng.uniform(0.2, 0.5)),
    )
    law = pulsator(steady(mag_r=sky.mag(), temperature_k=12000.0), [change])
    return Source(kind="active galaxy", law=law, context="galaxy_host")


def draw_dwarf_nova(sky: Sky) -> Source:
    """Draw the outburst of a dwarf nova."""
    quiet_mag = sky.faint_mag + float(sky.rng.uniform(-0.5, 2.0))
    law = dwarf_nova_outburst(
        quiet_mag=quiet_mag,
        rise_mjd=sky.night_mjd - float(sky.rng.uniform(0.5, 8.0)),
        amplitude_mag=float(sky.rng.uniform(3.0, 4.5)),
        plateau_day=float(sky.rng.uniform(3.0, 12.0)),
    )
    return Source(kind="dwarf nova", law=law)


def draw_flare(sky: Sky) -> Source:
    """Draw a single flare of a red dwarf, caught tonight."""
    law = flares(
        steady(mag_r=sky.mag(), temperature_k=3200.0),
        peaks_mjd=[sky.night_mjd + float(sky.rng.uniform(-0.03, 0.03))],
        amplitude=float(sky.rng.uniform(1.0, 5.0)),
        half_life_day=float(sky.rng.uniform(0.01, 0.04)),
    )
    return Source(kind="stellar flare", law=law)


def draw_microlensing(sky: Sky) -> Source:
    """Draw a quiet star magnified by another that passes in front of it."""
    factor = microlensing(
        peak_mjd=sky.night_mjd + float(sky.rng.uniform(-15, 6)),
        impact=float(sky.rng.uniform(0.05, 0.4)),
        crossing_day=float(np.exp(sky.rng.normal(np.log(22.0), 0.4))),
    )
    law = magnified(steady(mag_r=sky.mag(), temperature_k=5200.0), factor)
    return Source(kind="microlensing", law=law)


def draw_moving(sky: Sky) -> Source:
    """Draw an asteroid: there tonight, elsewhere on every other night."""
    lit = steady(mag_r=sky.mag(), temperature_k=5600.0)
    night = sky.night_mjd

    def law(mjd_tai: np.ndarray, wave_nm: np.ndarray) -> np.ndarray:
        return np.where(np.abs(mjd_tai - night) < 0.02, lit(mjd_tai, wave_nm), 0.0)

    return Source(kind="asteroid", law=law, context="solar_system")


def draw_artefact(sky: Sky) -> Source:
    """Draw a bad subtraction beside a bright star."""
    quiet = steady(mag_r=sky.mag(spread=0.5), temperature_k=5000.0)
    night = sky.night_mjd

    def law(mjd_tai: np.ndarray, wave_nm: np.ndarray) -> np.ndarray:
        return quiet(mjd_tai, wave_nm) * np.where(np.abs(mjd_tai - night) < 0.02, 1.3, 1.0)

    return Source(kind="artefact", law=law, context="artefact")


ORDINARY: MappingProxyType[Draw, float] = MappingProxyType(
    {
        draw_rrab: 0.17,
        draw_rrc: 0.07,
        draw_rrd: 0.03,
        draw_ew: 0.17,
        draw_ea: 0.08,
        draw_dsct: 0.07,
        draw_lpv: 0.08,
        draw_cepheid: 0.04,
        draw_rotator: 0.05,
        draw_supernova: 0.07,
        draw_active_galaxy: 0.07,
        draw_dwarf_nova: 0.02,
        draw_flare: 0.02,
        draw_microlensing: 0.01,
        draw_moving: 0.03,
        draw_artefact: 0.02,
    }
)
"""Share of each kind in the night. Not a real stream's, where rejected subtractions, moving objects and
galaxies outnumber pulsating stars; chosen so that a small night shows every kind."""
