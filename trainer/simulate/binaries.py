# SPDX-License-Identifier: BSD-3-Clause
"""Eclipsing pairs from the geometry of two discs, and spotted stars that rotate."""

from __future__ import annotations

import math

import numpy as np

from broker_plugin.demo.light import Change, eclipses, spots
from trainer.simulate.atmosphere import planck_nu
from trainer.simulate.bodies import (
    CIRCLE_KMS,
    FloatArray,
    Star,
    StarSystem,
    main_sequence,
    overlap_area,
    roche_radius,
    separation_rsun,
)

__all__ = ["contact_binary", "detached_binary", "eclipse_share", "rotator"]

GRAZING = 0.95
"""Largest distance of the centres at conjunction in units of both radii: shallower eclipses are not found."""

ELLIPSOIDAL = 0.12
"""Light of a contact binary that goes and comes with the shape of its stars, seen edge-on: from the maximum
to the minimum, twice an orbit."""

ROUNDING = math.cos(math.radians(30))
"""Limb darkening makes a grazing eclipse a little shallower than discs of even light would."""


def detached_binary(rng: np.random.Generator) -> StarSystem:
    """Draw a detached pair: dwarfs, a period of 0.7 to 10 days, and an inclination that lets them eclipse.

    Masses log-uniform from 0.6 to 2.5 suns, mass ratio uniform from 0.3 to 1; some primaries of more
    than a sun have grown, as in Algols. Pairs that would fill their Roche lobes are drawn again.
    """
    while True:
        mass = float(np.exp(rng.uniform(np.log(0.6), np.log(2.5))))
        ratio = float(rng.uniform(0.3, 1.0))
        grown = (
            float(rng.uniform(1.3, 2.5))
            if mass > 1.0 and rng.random() < 0.4
            else float(rng.uniform(1.0, 1.2))
        )
        stars = (main_sequence(mass, evolved=grown), main_sequence(max(0.4, mass * ratio)))
        period = float(np.exp(rng.uniform(np.log(0.7), np.log(10.0))))
        separation = separation_rsun(stars[0].mass + stars[1].mass, period)
        if stars[0].radius < 0.8 * separation * roche_radius(stars[0].mass / stars[1].mass):
            break
    reach = (stars[0].radius + stars[1].radius) / separation
    cos_i = float(rng.uniform(0.0, GRAZING * reach))
    width = eclipse_share(reach, cos_i)
    return _pair(rng, "EA", stars, period, separation=separation, cos_i=cos_i, width=width, feh=_disc(rng))


def eclipse_share(reach: float, cos_i: float) -> float:
    """Return the share of a circular orbit for which two discs touch at one conjunction (Winn 2010).

    Parameters
    ----------
    reach
        Sum of the radii over the separation.
    cos_i
        Cosine of the inclination, less than `reach`.

    Examples
    --------
    >>> round(24 * 365.25 * eclipse_share(1.009 / 215.0, 0.0), 1)  # hours of the Earth before the Sun
    13.1
    """
    return math.asin(math.sqrt((reach**2 - cos_i**2) / (1 - cos_i**2))) / math.pi


def contact_binary(rng: np.random.Generator) -> StarSystem:
    """Draw a contact pair: both stars fill their Roche lobes and share nearly one temperature.

    log M1 = 0.755 log P + 0.416 (Gazeas & Stepien 2008), mass ratio 0.15 to 0.9, inclination 40 to 90 degrees
    in solid angle.
    """
    period = float(np.clip(np.exp(rng.normal(np.log(0.36), 0.25)), 0.21, 1.0))
    mass = 10 ** (0.755 * math.log10(period) + 0.416)
    ratio = float(rng.uniform(0.15, 0.9))
    separation = separation_rsun(mass * (1 + ratio), period)
    teff = float(
        np.clip(main_sequence(float(np.clip(mass, 0.5, 2.5))).teff_k * rng.normal(0.97, 0.03), 4000, 8500)
    )
    stars = (
        Star(mass=mass, radius=separation * roche_radius(1 / ratio), teff_k=teff),
        Star(
            mass=mass * ratio,
            radius=separation * roche_radius(ratio),
            teff_k=teff * float(rng.normal(0.98, 0.03)),
        ),
    )
    cos_i = float(rng.uniform(0.0, math.cos(math.radians(40))))
    return _pair(rng, "EW", stars, period, separation=separation, cos_i=cos_i, width=1.0, feh=_disc(rng))


def rotator(rng: np.random.Generator) -> StarSystem:
    """Draw a spotted star: a dwarf of G, K or M type, or one in three an active giant (RS CVn).

    Faster stars have more spots, up to saturation; amplitude 0.02 to 0.4 mag.
    """
    giant = rng.random() < 0.33
    if giant:
        teff = float(rng.normal(4800, 200))
        star = Star(
            mass=float(rng.uniform(1.0, 1.8)), radius=float(np.exp(rng.uniform(1.1, 2.5))), teff_k=teff
        )
        period = float(np.exp(rng.uniform(np.log(5.0), np.log(60.0))))
    else:
        star = main_sequence(float(rng.uniform(0.45, 1.05)))
        period = float(np.exp(rng.uniform(np.log(0.4), np.log(25.0))))
    saturation = min(1.0, (3.0 / period) ** 0.5) if not giant else 0.8
    change = spots(
        period_day=period,
        epoch_mjd=58_000.0 + float(rng.uniform(0, period)),
        amplitude=float(np.clip(saturation * np.exp(rng.normal(np.log(0.14), 0.5)), 0.02, 0.4)),
        second=float(rng.uniform(0.0, 0.6)),
    )
    speed = CIRCLE_KMS * star.radius / period * math.sqrt(1 - float(rng.uniform()) ** 2)
    return StarSystem(
        label="ROT", stars=(star,), feh=_disc(rng), period_day=period, change=change, rotation_kms=speed
    )


def _disc(rng: np.random.Generator) -> float:
    """Draw the metallicity of a disc star."""
    return float(np.clip(rng.normal(-0.1, 0.25), -1.0, 0.4))


def _pair(
    rng: np.random.Generator,
    label: str,
    stars: tuple[Star, Star],
    period: float,
    *,
    separation: float,
    cos_i: float,
    width: float,
    feh: float,
) -> StarSystem:
    """Return a pair; its eclipses are those of discs of even brightness, each of its own black body."""
    distance = separation * cos_i
    hidden = overlap_area(stars[0].radius, stars[1].radius, distance) * ROUNDING / math.pi
    sin_i = math.sqrt(1 - cos_i**2)
    speed = CIRCLE_KMS * separation / period * sin_i
    total = stars[0].mass + stars[1].mass
    epoch = 58_000.0 + float(rng.uniform(0, period))
    return StarSystem(
        label=label,
        stars=stars,
        feh=feh,
        period_day=period,
        change=_eclipsed(label, stars, hidden, sin_i, period=period, epoch=epoch, width=width),
        # Tides keep the rotation of close pairs in step with the orbit.
        rotation_kms=CIRCLE_KMS * stars[0].radius / period * sin_i,
        orbit_kms=(speed * stars[1].mass / total, -speed * stars[0].mass / total),
    )


def _eclipsed(
    label: str,
    stars: tuple[Star, Star],
    hidden: float,
    sin_i: float,
    *,
    period: float,
    epoch: float,
    width: float,
) -> Change:
    contact = label == "EW"
    shape_term = ELLIPSOIDAL * sin_i**2 if contact else 0.0

    def depths(wave_nm: float) -> tuple[float, float]:
        brightness = [float(planck_nu(np.asarray(wave_nm), star.teff_k)) for star in stars]
        light = sum(star.radius**2 * each for star, each in zip(stars, brightness, strict=True))
        lost = sorted((min(0.95, hidden * each / light + shape_term) for each in brightness), reverse=True)
        return lost[0], lost[1]

    def change(mjd_tai: FloatArray, wave_nm: FloatArray) -> FloatArray:
        result = np.zeros_like(mjd_tai)
        for wave in np.unique(wave_nm):
            share = eclipses(
                period_day=period, epoch_mjd=epoch, depths=depths(float(wave)), width=width, contact=contact
            )
            rows = wave_nm == wave
            result[rows] = -2.5 * np.log10(share(mjd_tai[rows]))
        return result

    return change
