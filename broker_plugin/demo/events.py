# SPDX-License-Identifier: BSD-3-Clause
"""Ordinary sources that are no variable stars: explosions, outbursts, lensing, active galaxies, asteroids."""

from __future__ import annotations

import numpy as np

from broker_plugin.demo.light import FloatArray, damped_random_walk, magnified, pulsator, steady
from broker_plugin.demo.sources import Host, Sky, Source
from broker_plugin.demo.transients import dwarf_nova_outburst, flares, microlensing, type_ia_supernova

__all__ = [
    "draw_active_galaxy",
    "draw_artefact",
    "draw_dwarf_nova",
    "draw_flare",
    "draw_microlensing",
    "draw_moving",
    "draw_supernova",
]

WALK_START_DAY = 1000.0
"""How long before the night a flickering source's history begins: longer than any reference image's age."""

TONIGHT_DAY = 0.02
"""How long an asteroid stays where it was seen, and a bad subtraction lasts: less than between two visits."""


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

    def law(mjd_tai: FloatArray, wave_nm: FloatArray) -> FloatArray:
        return np.where(np.abs(mjd_tai - night) < TONIGHT_DAY, lit(mjd_tai, wave_nm), 0.0)

    return Source(kind="asteroid", law=law, context="solar_system")


def draw_artefact(sky: Sky) -> Source:
    """Draw a bad subtraction beside a bright star."""
    quiet = steady(mag_r=sky.mag(spread=0.5), temperature_k=5000.0)
    night = sky.night_mjd

    def law(mjd_tai: FloatArray, wave_nm: FloatArray) -> FloatArray:
        return quiet(mjd_tai, wave_nm) * np.where(np.abs(mjd_tai - night) < TONIGHT_DAY, 1.3, 1.0)

    return Source(kind="artefact", law=law, context="artefact")
