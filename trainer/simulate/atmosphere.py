# SPDX-License-Identifier: BSD-3-Clause
"""Light of a star's surface: a black body behind the strongest lines and bands of the optical.

A sketch, not a model atmosphere: each line is a Gaussian whose equivalent width follows temperature, gravity
and metallicity in the sense and size that spectral classification knows (Gray & Corbally 2009): Balmer lines
peak at type A and widen with gravity; Ca H and K, the G band and the metals grow towards cool and metal-rich
stars; Mg b and Na D prefer dwarfs, the calcium triplet giants; titanium oxide takes over below 4000 K.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from trainer.simulate.bodies import FloatArray, Star

__all__ = ["LIGHT_KMS", "planck_nu", "transmission"]

LIGHT_KMS = 299_792.458

TWO_H_OVER_C2, H_OVER_K = 1.474499e-47, 4.799243e-11
"""2 h / c^2 and h / k in cgs units."""

AA_HZ = 2.99792458e18
"""Speed of light in angstrom per second."""

BALMER_AA = (6564.61, 4862.69, 4341.69, 4102.90, 3971.20, 3890.16, 3836.48)
BALMER_SHARE = (0.75, 0.9, 1.0, 1.0, 0.9, 0.8, 0.7)
"""Vacuum wavelengths, and equivalent widths relative to H-gamma."""

CALCIUM_AA = (3934.78, 3969.59)
TRIPLET_AA, TRIPLET_EW = (8500.35, 8544.44, 8664.52), (1.2, 3.2, 2.7)
MAGNESIUM_AA = (5168.76, 5174.13, 5185.05)
SODIUM_AA = (5891.58, 5897.56)
G_BAND_AA = 4305.6

TIO_HEADS_AA = (
    4763.0,
    4956.0,
    5168.0,
    5450.0,
    5849.0,
    6160.0,
    6653.0,
    7056.0,
    7591.0,
    8206.0,
    8434.0,
    8861.0,
)
TIO_DEPTH = (0.35, 0.45, 0.5, 0.45, 0.4, 0.5, 0.45, 0.7, 0.5, 0.35, 0.6, 0.4)
TIO_LENGTH_AA = 110.0
"""Band heads, degraded to the red, their depth at 3000 K and the length over which a band recovers."""

N_METALS, METALS_SEED = 80, 1814
"""Weak metal lines between 3850 and 6700 angstrom at made-up places, the same in all stars; Fraunhofer
counted hundreds."""

DEPTH_MAX = 0.92
"""No line is black: scattered light and emission from above fill its core."""


def planck_nu(wave_nm: FloatArray, teff_k: float) -> FloatArray:
    """Return the brightness of a black body in erg/s/cm2/Hz/sr.

    Examples
    --------
    >>> float(planck_nu(np.array(550.0), 5772.0)).__format__(".3g")
    '2.6e-05'
    """
    nu = AA_HZ / (10.0 * wave_nm)
    return np.asarray(TWO_H_OVER_C2 * nu**3 / np.expm1(H_OVER_K * nu / teff_k))


def transmission(
    wave_aa: FloatArray, star: Star, feh: float, *, resolution: float, rotation_kms: float = 0.0
) -> FloatArray:
    """Return the share of the continuum that lines and bands leave, at wavelengths in vacuum.

    Parameters
    ----------
    resolution
        Of the instrument, wavelength over full width at half maximum.
    """
    centre, width_ew, damping = _lines(star, feh)
    blur = centre / resolution / 2.355
    spin = 0.6 * centre * rotation_kms / LIGHT_KMS
    sigma = np.sqrt(blur**2 + spin**2 + damping**2)
    depth = np.minimum(DEPTH_MAX, width_ew / (sigma * math.sqrt(2 * math.pi)))
    result = np.ones_like(wave_aa)
    for middle, deep, wide in zip(centre, depth, sigma, strict=True):
        near = slice(*np.searchsorted(wave_aa, (middle - 5 * wide, middle + 5 * wide)))
        result[near] *= 1 - deep * np.exp(-0.5 * ((wave_aa[near] - middle) / wide) ** 2)
    return result * _titanium_oxide(wave_aa, star.teff_k, feh)


def _lines(star: Star, feh: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return centre, equivalent width and width by damping of every line, in angstrom."""
    teff, gravity = star.teff_k, star.logg - 4.0
    metals = 10 ** (0.35 * feh)
    balmer = 13.0 * _bump(teff, 9300.0, 0.135) * (1 + 0.12 * np.clip(gravity, -2, 1))
    spread = 1.0 + 5.0 * _bump(teff, 9300.0, 0.15) * np.clip(1 + 0.4 * gravity, 0.2, 1.5)
    calcium = 11.0 * _bump(teff, 4500.0, 0.13) * metals
    groups: list[tuple[Sequence[float] | FloatArray, Any, float]] = [
        (BALMER_AA, balmer * np.array(BALMER_SHARE), spread),
        (CALCIUM_AA, calcium * np.array((1.0, 0.85)), 3.0),
        ((G_BAND_AA,), 6.0 * _bump(teff, 5200.0, 0.09) * metals, 5.0),
        (
            MAGNESIUM_AA,
            1.8 * _bump(teff, 4300.0, 0.13) * metals * np.clip(1 + 0.35 * gravity, 0.3, 1.6) * np.ones(3),
            1.0,
        ),
        (
            SODIUM_AA,
            2.2 * _bump(teff, 3500.0, 0.15) * metals * np.clip(1 + 0.3 * gravity, 0.3, 1.6) * np.ones(2),
            1.0,
        ),
        (
            TRIPLET_AA,
            _bump(teff, 4300.0, 0.2) * metals * np.clip(1 - 0.2 * gravity, 0.6, 2.0) * np.array(TRIPLET_EW),
            1.0,
        ),
        (*_metals(_bump(teff, 4400.0, 0.14) * metals), 0.3),
    ]
    centre = np.concatenate([np.asarray(each[0], np.float64) for each in groups])
    widths = np.concatenate([np.atleast_1d(each[1]) for each in groups])
    damping = np.concatenate([np.full(len(each[0]), float(each[2])) for each in groups])
    return centre, np.asarray(widths, np.float64), damping


def _metals(strength: float) -> tuple[FloatArray, FloatArray]:
    centre, share = _metal_lines()
    return centre, strength * share


@cache
def _metal_lines() -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(METALS_SEED)
    centre = 3850.0 + 2850.0 * rng.random(N_METALS) ** 1.4
    # Most lines of iron and its like crowd towards the blue.
    return centre, (1.6 * rng.random(N_METALS) ** 2 + 0.1) * (4500.0 / centre) ** 3


def _bump(teff_k: float, peak_k: float, width_dex: float) -> float:
    return math.exp(-0.5 * (math.log10(teff_k / peak_k) / width_dex) ** 2)


def _titanium_oxide(wave_aa: FloatArray, teff_k: float, feh: float) -> FloatArray:
    strength = min(1.4, max(0.0, (4000.0 - teff_k) / 1000.0)) * 10 ** (0.2 * feh)
    result = np.ones_like(wave_aa)
    if strength > 0:
        for head, depth in zip(TIO_HEADS_AA, TIO_DEPTH, strict=True):
            behind = np.maximum(wave_aa - head, 0.0)
            result *= 1 - min(0.95, depth * strength) * np.exp(-behind / TIO_LENGTH_AA) * (wave_aa >= head)
    return result
