# SPDX-License-Identifier: BSD-3-Clause
"""Light of a simulated system as it reaches the Earth: spectral flux, magnitudes, extinction."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from broker_plugin.demo.light import ab_magnitude
from trainer.simulate.atmosphere import AA_HZ, LIGHT_KMS, planck_nu, transmission
from trainer.simulate.bodies import FloatArray, StarSystem

__all__ = ["Photometer", "extinction", "spectral_flux"]

RSUN_OVER_PC_SQUARED = (6.957e10 / 3.0857e18) ** 2

NJY_CGS = 1e-32
"""A nanojansky in erg/s/cm2/Hz."""

BAND_SHARE = 0.1
"""Half-width of a passband over its wavelength."""

GRID_AA, GRID_RESOLUTION = (3200.0, 11000.0, 15.0), 150.0
"""Grid that magnitudes are averaged over, finer than the bands of titanium oxide."""

EXTINCTION_POWER = -1.3
"""A(lambda) / A(V) as a power of wavelength: within 5 % of Fitzpatrick (1999; R_V = 3.1), 400 to 950 nm."""

V_NM = 551.0


def extinction(wave_nm: FloatArray | float) -> FloatArray:
    """Return A(lambda) / A(V).

    Examples
    --------
    >>> float(extinction(551.0))
    1.0
    """
    return np.asarray((np.asarray(wave_nm, np.float64) / V_NM) ** EXTINCTION_POWER)


def spectral_flux(
    system: StarSystem,
    wave_aa: FloatArray,
    *,
    distance_pc: float,
    av: float,
    resolution: float,
    velocity_kms: float = 0.0,
    orbit_phase: float = 0.0,
    dimming_mag: float = 0.0,
) -> FloatArray:
    """Return the flux of a system in erg/s/cm2/angstrom.

    Parameters
    ----------
    orbit_phase
        Of a pair, in cycles from conjunction; its members then move apart in velocity.
    dimming_mag
        How much fainter than on average it is: the part of it that is temperature changes the spectrum.
    """
    cooling = 10.0 ** (-0.1 * system.temperature_swing * dimming_mag)
    total = np.zeros_like(wave_aa)
    for star, speed in zip(system.stars, system.orbit_kms, strict=True):
        now = replace(star, teff_k=star.teff_k * cooling)
        shift = 1 + (velocity_kms + speed * np.sin(2 * np.pi * orbit_phase)) / LIGHT_KMS
        rest = wave_aa / shift
        lines = transmission(rest, now, system.feh, resolution=resolution, rotation_kms=system.rotation_kms)
        surface = np.pi * planck_nu(rest / 10.0, now.teff_k) * AA_HZ / wave_aa**2
        total += star.radius**2 * surface * lines
    dust = 10.0 ** (-0.4 * av * extinction(wave_aa / 10.0))
    return np.asarray(total * RSUN_OVER_PC_SQUARED / distance_pc**2 * dust)


class Photometer:
    """Mean magnitudes of one system, at any distance and behind any dust.

    Examples
    --------
    >>> from trainer.simulate.bodies import Star
    >>> sun = StarSystem(
    ...     label="ROT",
    ...     stars=(Star(mass=1.0, radius=1.0, teff_k=5772.0),),
    ...     feh=0.0,
    ...     period_day=25.0,
    ...     change=lambda mjd_tai, wave_nm: 0.0 * mjd_tai,
    ... )
    >>> abs(Photometer(sun).magnitude(622.0, distance_pc=10.0, av=0.0) - 4.65) < 0.15
    True
    """

    def __init__(self, system: StarSystem) -> None:
        self._wave_aa = np.arange(*GRID_AA)
        self._flux = spectral_flux(
            system, self._wave_aa, distance_pc=10.0, av=0.0, resolution=GRID_RESOLUTION
        )

    def magnitude(self, wave_nm: float, *, distance_pc: float, av: float) -> float:
        """Return the mean AB magnitude in a band around a wavelength."""
        band = slice(
            *np.searchsorted(
                self._wave_aa, (10 * wave_nm * (1 - BAND_SHARE), 10 * wave_nm * (1 + BAND_SHARE))
            )
        )
        wave = self._wave_aa[band]
        dust = 10.0 ** (-0.4 * av * extinction(wave / 10.0))
        mean = float(np.mean(self._flux[band] * dust * wave**2)) / AA_HZ / NJY_CGS
        return float(ab_magnitude(mean)) + 5 * math.log10(distance_pc / 10.0)
