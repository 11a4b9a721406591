# SPDX-License-Identifier: BSD-3-Clause
"""Ordinary variable stars, drawn from plain parametrisations of what is known of their kinds."""

from __future__ import annotations

import numpy as np

from broker_plugin.demo.light import SHAPES, eclipses, magnified, pulsation, pulsator, spots, steady
from broker_plugin.demo.sources import Sky, Source

__all__ = [
    "draw_cepheid",
    "draw_dsct",
    "draw_ea",
    "draw_ew",
    "draw_lpv",
    "draw_rotator",
    "draw_rrab",
    "draw_rrc",
    "draw_rrd",
]


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
