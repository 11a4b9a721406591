# SPDX-License-Identifier: BSD-3-Clause
"""Planted oddities: what no ordinary star of the night does.

Some should stand out, and some are hard: a small change, or a change that few epochs show. A demonstration
that could only succeed would show nothing, so the hard ones may be missed and the report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from broker_plugin.demo.light import (
    SHAPES,
    Change,
    FloatArray,
    Law,
    eclipses,
    magnified,
    pulsation,
    pulsator,
    steady,
)
from broker_plugin.demo.sources import Draw, Sky, Source
from broker_plugin.demo.transients import dust_fading, flares, microlensing, nova

__all__ = ["PLANTED_LSST", "PLANTED_ZTF"]


def mode_stops(sky: Sky) -> Source:
    """Draw an RR Lyrae star that stops pulsating."""
    base, mode = _rr_lyrae(sky, period_day=0.53, amplitude_mag=1.1)
    stop_mjd = sky.night_mjd - 11.0
    law = _switched(pulsator(base, [mode]), _offset(base, 0.45), at_mjd=stop_mjd)
    return Source(
        kind="RR Lyrae ab",
        law=law,
        period_day=0.53,
        planted="its pulsation stopped 11 days before the night, and it stayed half a magnitude faint",
    )


def deep_dip(sky: Sky) -> Source:
    """Draw an eclipsing binary that fades once, deeply, off its ephemeris."""
    period, epoch = 2.31, sky.epoch()
    share = eclipses(period_day=period, epoch_mjd=epoch, depths=(0.35, 0.2), width=0.12, contact=False)
    binary = magnified(steady(mag_r=sky.mag(spread=0.7), temperature_k=6700.0), share)
    law = magnified(binary, _dips([(sky.night_mjd - 0.3, 2.2, 0.86)]))
    return Source(
        kind="detached binary",
        law=law,
        period_day=period,
        planted="a single dip of 86 % of its light, four days long and off its ephemeris",
    )


def period_doubling(sky: Sky) -> Source:
    """Draw a pulsator whose maxima alternate."""
    base, mode = _rr_lyrae(sky, period_day=0.48, amplitude_mag=0.9)
    half = pulsation(
        shape=SHAPES["RRC"], period_day=0.96, epoch_mjd=sky.epoch(), amplitude_mag=0.9, colour=-0.4
    )
    return Source(
        kind="RR Lyrae ab",
        law=pulsator(base, [mode, half]),
        period_day=0.96,
        planted="period doubling: high and low maxima alternate",
    )


def repeating_flare(sky: Sky) -> Source:
    """Draw a red dwarf that flares every night."""
    peaks = [sky.night_mjd - 0.015 - 1.9 * count for count in range(60)]
    star = steady(mag_r=sky.mag(), temperature_k=3100.0)
    law = flares(star, peaks_mjd=peaks, amplitude=6.0, half_life_day=0.05)
    return Source(kind="red dwarf", law=law, planted="a flare of six times its light every 1.9 days")


def lensed_variable(sky: Sky) -> Source:
    """Draw an RR Lyrae star behind a lens."""
    base, mode = _rr_lyrae(sky, period_day=0.61, amplitude_mag=0.8, mag_spread=1.0)
    factor = microlensing(peak_mjd=sky.night_mjd - 1.5, impact=0.12, crossing_day=9.0)
    return Source(
        kind="RR Lyrae ab",
        law=magnified(pulsator(base, [mode]), factor),
        period_day=0.61,
        planted="microlensing of a pulsating star: eight times brighter at the peak, pulsating all the while",
    )


def carbon_star_fades(sky: Sky) -> Source:
    """Draw a star of the R Coronae Borealis kind that veils itself."""
    mode = pulsation(shape=SHAPES["CEP"], period_day=42.0, epoch_mjd=sky.epoch(), amplitude_mag=0.3)
    star = pulsator(steady(mag_r=sky.bright_mag + 0.3, temperature_k=6000.0), [mode])
    law = dust_fading(star, start_mjd=sky.night_mjd - 12.0, depth_mag=4.5, fall_day=7.0)
    return Source(
        kind="R Coronae Borealis",
        law=law,
        planted="it fades by four magnitudes in twelve days behind its own dust",
    )


def nova_eruption(sky: Sky) -> Source:
    """Draw a nova, on a star that the catalogue calls an ordinary star."""
    law = nova(
        quiet_mag=sky.faint_mag + 0.8,
        peak_mjd=sky.night_mjd - 5.0,
        amplitude_mag=6.5,
        decline_day=14.0,
    )
    return Source(
        kind="nova", law=law, planted="a nova five days after maximum, 6.5 magnitudes above its quiet star"
    )


def switches_mode(sky: Sky) -> Source:
    """Draw an RR Lyrae star that changes from the fundamental mode to the overtone."""
    base, mode = _rr_lyrae(sky, period_day=0.50, amplitude_mag=1.2)
    overtone = pulsation(shape=SHAPES["RRC"], period_day=0.372, epoch_mjd=sky.epoch(), amplitude_mag=0.5)
    law = _switched(pulsator(base, [mode]), pulsator(base, [overtone]), at_mjd=sky.night_mjd - 14.0)
    return Source(
        kind="RR Lyrae ab to c",
        law=law,
        period_day=0.372,
        planted="it changed from the fundamental mode to the first overtone two weeks ago",
        hard=True,
    )


def amplitude_drops(sky: Sky) -> Source:
    """Draw an RR Lyrae star whose amplitude has changed by a fifth."""
    base, mode = _rr_lyrae(sky, period_day=0.57, amplitude_mag=0.95)

    def smaller(mjd_tai: FloatArray, wave_nm: FloatArray) -> FloatArray:
        return 0.8 * mode(mjd_tai, wave_nm)

    law = _switched(pulsator(base, [mode]), pulsator(base, [smaller]), at_mjd=sky.night_mjd - 10.0)
    return Source(
        kind="RR Lyrae ab",
        law=law,
        period_day=0.57,
        planted="its amplitude fell by a fifth ten days ago",
        hard=True,
    )


def uneven_maxima(sky: Sky) -> Source:
    """Draw a contact binary with one side spotted."""
    period, epoch = 0.37, sky.epoch()
    share = eclipses(period_day=period, epoch_mjd=epoch, depths=(0.4, 0.36), width=1.0, contact=True)
    binary = magnified(steady(mag_r=sky.mag(spread=0.8), temperature_k=5400.0), share)

    def bright_side(mjd_tai: FloatArray) -> FloatArray:
        return np.asarray(1.0 + 0.09 * np.sin(2 * np.pi * (mjd_tai - epoch) / period))

    return Source(
        kind="contact binary",
        law=magnified(binary, bright_side),
        period_day=period,
        planted="one maximum is a fifth of a magnitude higher than the other",
        hard=True,
    )


def single_shallow_dip(sky: Sky) -> Source:
    """Draw a delta Scuti star that an unseen body crosses once."""
    mode = pulsation(shape=SHAPES["DSCT"], period_day=0.09, epoch_mjd=sky.epoch(), amplitude_mag=0.6)
    star = pulsator(steady(mag_r=sky.mag(spread=0.8), temperature_k=7500.0), [mode])
    law = magnified(star, _dips([(sky.night_mjd - 6.0, 0.8, 0.3)]))
    return Source(
        kind="delta Scuti",
        law=law,
        period_day=0.09,
        planted="a single dip of 30 % a day and a half long, six days ago",
        hard=True,
    )


def dipper(sky: Sky) -> Source:
    """Draw a young star with a clumpy disc."""
    centres = sky.rng.uniform(sky.night_mjd - 160.0, sky.night_mjd, size=24)
    dips = [
        (float(centre), float(sky.rng.uniform(0.6, 2.0)), float(sky.rng.uniform(0.3, 0.85)))
        for centre in centres
    ]
    law = magnified(
        steady(mag_r=sky.mag(spread=0.6), temperature_k=4000.0), _dips([*dips, (sky.night_mjd, 1.5, 0.7)])
    )
    return Source(
        kind="young dipper", law=law, planted="two dozen dips of every depth at no period: clumps in a disc"
    )


def companion_bursts(sky: Sky) -> Source:
    """Draw a Mira that brightens by a blue outburst of its companion."""
    mode = pulsation(
        shape=SHAPES["LPV"], period_day=310.0, epoch_mjd=sky.epoch(), amplitude_mag=2.5, colour=-1.6
    )
    mira = pulsator(steady(mag_r=sky.mag(spread=0.6), temperature_k=3200.0), [mode])
    companion = steady(mag_r=sky.bright_mag + 0.2, temperature_k=20_000.0)
    start = sky.night_mjd - 20.0

    def law(mjd_tai: FloatArray, wave_nm: FloatArray) -> FloatArray:
        on = 1.0 / (1.0 + np.exp(np.clip(-(mjd_tai - start) / 2.0, -50, 50)))
        return mira(mjd_tai, wave_nm) + on * companion(mjd_tai, wave_nm)

    return Source(
        kind="symbiotic Mira", law=law, planted="a Mira that turned blue: its companion burst out 20 days ago"
    )


PLANTED_ZTF: tuple[Draw, ...] = (
    mode_stops,
    deep_dip,
    repeating_flare,
    lensed_variable,
    carbon_star_fades,
    nova_eruption,
    switches_mode,
    amplitude_drops,
    uneven_maxima,
)
PLANTED_LSST: tuple[Draw, ...] = (
    period_doubling,
    dipper,
    companion_bursts,
    carbon_star_fades,
    lensed_variable,
    single_shallow_dip,
    amplitude_drops,
)


def _rr_lyrae(
    sky: Sky, *, period_day: float, amplitude_mag: float, mag_spread: float = 0.7
) -> tuple[Law, Change]:
    base = steady(mag_r=sky.mag(spread=mag_spread), temperature_k=6500.0)
    mode = pulsation(
        shape=SHAPES["RRAB"], period_day=period_day, epoch_mjd=sky.epoch(), amplitude_mag=amplitude_mag
    )
    return base, mode


def _offset(law: Law, magnitudes: float) -> Law:
    return lambda mjd_tai, wave_nm: law(mjd_tai, wave_nm) * 10.0 ** (-0.4 * magnitudes)


def _switched(before: Law, after: Law, *, at_mjd: float) -> Law:
    return lambda mjd_tai, wave_nm: np.where(
        mjd_tai < at_mjd, before(mjd_tai, wave_nm), after(mjd_tai, wave_nm)
    )


def _dips(dips: Sequence[tuple[float, float, float]]) -> Callable[[FloatArray], FloatArray]:
    """Return the share of light left by dips of a centre (MJD), a half width (d) and a depth (0 to 1)."""

    def share(mjd_tai: FloatArray) -> FloatArray:
        left = np.ones_like(mjd_tai)
        for centre, half_width, depth in dips:
            left = left * (1.0 - depth * np.exp(-(((mjd_tai - centre) / half_width) ** 4)))
        return left

    return share
