# SPDX-License-Identifier: BSD-3-Clause
"""What a simulated star is made of, and the few laws of stars that the classes share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.demo.light import Change

__all__ = [
    "CIRCLE_KMS",
    "FloatArray",
    "Star",
    "StarSystem",
    "luminosity_of",
    "main_sequence",
    "overlap_area",
    "radius_of",
    "roche_radius",
    "separation_rsun",
]

FloatArray = NDArray[np.float64]

SUN_K, SUN_LOGG, SUN_BOLOMETRIC_MAG = 5772.0, 4.438, 4.74
"""Nominal solar values (IAU 2015 resolution B3)."""

KEPLER_RSUN = 4.21
"""Separation in solar radii of two bodies of one solar mass in all with a period of a day."""

CIRCLE_KMS = 50.6
"""Speed on a circle of one solar radius with a period of a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Star:
    """One star: mass and radius of the Sun's, effective temperature in K."""

    mass: float
    radius: float
    teff_k: float

    @property
    def logg(self) -> float:
        """Logarithm of the surface gravity in cgs."""
        return SUN_LOGG + math.log10(self.mass) - 2 * math.log10(self.radius)


@dataclass(frozen=True, slots=True, kw_only=True)
class StarSystem:
    """A variable star, or a pair, before anyone looks at it.

    Parameters
    ----------
    feh
        Metallicity [Fe/H] in dex.
    change
        Magnitudes that are added at a time (MJD) and a wavelength (nm).
    halo
        Whether it belongs to the halo: high above the plane, and fast.
    rotation_kms
        Projected speed of rotation.
    orbit_kms
        Line-of-sight speeds of the members at quadrature.
    temperature_swing
        Share of a magnitude's change that is due to temperature, as L goes with its fourth power.
    """

    label: str
    stars: tuple[Star, ...]
    feh: float
    period_day: float
    change: Change
    halo: bool = False
    rotation_kms: float = 5.0
    orbit_kms: tuple[float, ...] = (0.0,)
    temperature_swing: float = 0.0


def luminosity_of(bolometric_mag: float) -> float:
    """Return the luminosity in suns of an absolute bolometric magnitude.

    Examples
    --------
    >>> round(luminosity_of(4.74), 3), round(luminosity_of(-0.26), 3)
    (1.0, 100.0)
    """
    return float(10.0 ** (-0.4 * (bolometric_mag - SUN_BOLOMETRIC_MAG)))


def radius_of(luminosity: float, teff_k: float) -> float:
    """Return the radius in suns (Stefan and Boltzmann).

    Examples
    --------
    >>> round(radius_of(16.0, 2 * 5772.0), 3)
    1.0
    """
    return math.sqrt(luminosity) * (SUN_K / teff_k) ** 2


def main_sequence(mass: float, *, evolved: float = 1.0) -> Star:
    """Return a dwarf of a mass, between 0.4 and 3 suns.

    Luminosity and radius are power laws of the mass with the usual bends (Demircan & Kahraman 1991, rounded).

    Parameters
    ----------
    evolved
        Factor of the radius by which it has grown, at the same luminosity.
    """
    luminosity = mass**4.2 if mass < 1.4 else 1.4**4.2 * (mass / 1.4) ** 3.6
    radius = (mass**0.9 if mass < 1.2 else 1.2**0.9 * (mass / 1.2) ** 0.6) * evolved
    return Star(mass=mass, radius=radius, teff_k=SUN_K * (luminosity / radius**2) ** 0.25)


def separation_rsun(total_mass: float, period_day: float) -> float:
    """Return the separation of a circular orbit in solar radii (Kepler).

    Examples
    --------
    >>> round(separation_rsun(1.0, 365.25))  # an astronomical unit
    215
    """
    return float(KEPLER_RSUN * (total_mass * period_day**2) ** (1 / 3))


def roche_radius(ratio: float) -> float:
    """Return the radius of a star's Roche lobe over the separation (Eggleton 1983).

    Examples
    --------
    >>> round(roche_radius(1.0), 3)
    0.379
    """
    cubed: float = ratio ** (1 / 3)
    return 0.49 * cubed**2 / (0.6 * cubed**2 + math.log(1 + cubed))


def overlap_area(one: float, other: float, distance: float) -> float:
    """Return the area common to two discs of given radii and distance of their centres.

    Examples
    --------
    >>> overlap_area(1.0, 1.0, 2.5), round(overlap_area(1.0, 0.5, 0.1) / math.pi, 3)
    (0.0, 0.25)
    """
    if distance >= one + other:
        return 0.0
    if distance <= abs(one - other):
        return math.pi * min(one, other) ** 2
    first = math.acos((distance**2 + one**2 - other**2) / (2 * distance * one))
    second = math.acos((distance**2 + other**2 - one**2) / (2 * distance * other))
    return one**2 * (first - math.sin(2 * first) / 2) + other**2 * (second - math.sin(2 * second) / 2)
