# SPDX-License-Identifier: BSD-3-Clause
"""Laws of light of things that happen once: explosions, outbursts, flares, lensing, fading."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from broker_plugin.demo.light import FloatArray, Law, ab_flux_njy, black_body, steady

__all__ = [
    "dust_fading",
    "dwarf_nova_outburst",
    "flares",
    "microlensing",
    "nova",
    "type_ia_supernova",
]

SUPERNOVA_PEAK_MAG = -19.3
"""Absolute magnitude of a type Ia supernova at maximum."""

HUBBLE_KM_S_MPC = 70.0
LIGHT_KM_S = 299_792.458

LINE_BLANKETING_NM = 400.0
"""Iron absorbs the light of a type Ia supernova bluewards of this, in its rest frame."""

FLARE_TEMPERATURE_K = 9500.0
"""Temperature of the white light of a flare on a red dwarf (Kowalski et al. 2013)."""

DISC_TEMPERATURE_K = 13_000.0
"""Temperature of an accretion disc in outburst: nearly flat in AB magnitudes."""


def type_ia_supernova(*, redshift: float, peak_mjd: float, stretch: float) -> tuple[Law, float]:
    """Return the light of a type Ia supernova, and its magnitude at maximum.

    A rise and a fall of Bazin et al. (2009) with a photosphere that cools from 15,000 K to 5,000 K: not a
    spectral template, but its colours redden by about a magnitude in the month after maximum as they should.
    """
    distance_pc = LIGHT_KM_S * redshift / HUBBLE_KM_S_MPC * (1 + redshift / 2) * 1e6
    peak_mag = SUPERNOVA_PEAK_MAG + 5 * np.log10(distance_pc / 10.0)
    grid = np.linspace(-40.0, 40.0, 801)
    norm = _bazin(grid).max()
    centre = float(grid[_bazin(grid).argmax()])

    def flux(mjd_tai: FloatArray, wave_nm: FloatArray) -> FloatArray:
        age = (mjd_tai - peak_mjd) / (1 + redshift) / stretch
        rest_nm = wave_nm / (1 + redshift)
        temperature = 5000.0 + 10_000.0 / (1.0 + np.exp((age + 2.0) / 7.0))
        blanketing = 1.0 / (1.0 + np.exp((LINE_BLANKETING_NM - rest_nm) / 25.0))
        light = _bazin(age + centre) / norm
        shape: FloatArray = light * blanketing * black_body(rest_nm, temperature)
        return shape * ab_flux_njy(peak_mag)

    return flux, float(peak_mag)


def dwarf_nova_outburst(
    *, quiet_mag: float, rise_mjd: float, amplitude_mag: float, plateau_day: float
) -> Law:
    """Return an outburst: up within a day, a sloping plateau, then down by about a magnitude a day."""
    quiet = steady(mag_r=quiet_mag, temperature_k=6000.0)
    disc = steady(mag_r=quiet_mag - amplitude_mag, temperature_k=DISC_TEMPERATURE_K)

    def flux(mjd_tai: FloatArray, wave_nm: FloatArray) -> FloatArray:
        age = mjd_tai - rise_mjd
        up = 1.0 / (1.0 + np.exp(np.clip(-(age - 0.5) / 0.12, -50, 50)))
        fade_mag = 0.05 * np.clip(age, 0, plateau_day) + 0.9 * np.clip(age - plateau_day, 0, 12.0)
        light: FloatArray = up * disc(mjd_tai, wave_nm) * 10.0 ** (-0.4 * fade_mag)
        return quiet(mjd_tai, wave_nm) + light

    return flux


def nova(*, quiet_mag: float, peak_mjd: float, amplitude_mag: float, decline_day: float) -> Law:
    """Return a nova: up within two days, then down by three magnitudes in `decline_day`, ever slower."""
    quiet = steady(mag_r=quiet_mag, temperature_k=6000.0)
    shell = steady(mag_r=quiet_mag - amplitude_mag, temperature_k=9000.0)

    def flux(mjd_tai: FloatArray, wave_nm: FloatArray) -> FloatArray:
        age = mjd_tai - peak_mjd
        up = 1.0 / (1.0 + np.exp(np.clip(-(age + 1.0) / 0.25, -50, 50)))
        fade_mag = 3.0 * np.log1p(np.clip(age, 0, None) / decline_day * 3.0) / np.log(4.0)
        light: FloatArray = up * shell(mjd_tai, wave_nm) * 10.0 ** (-0.4 * fade_mag)
        return quiet(mjd_tai, wave_nm) + light

    return flux


def flares(base: Law, *, peaks_mjd: Sequence[float], amplitude: float, half_life_day: float) -> Law:
    """Return a star that flares: a quick rise and a fast, then slow decay of hot light (Davenport 2014).

    Parameters
    ----------
    amplitude
        Light of a flare at its peak, in r, in units of the quiet star's.
    half_life_day
        Time from half the peak to half the peak.
    """

    def flux(mjd_tai: FloatArray, wave_nm: FloatArray) -> FloatArray:
        star = base(mjd_tai, wave_nm)
        in_r = base(mjd_tai, np.full_like(wave_nm, 622.3))
        profile = np.zeros_like(mjd_tai)
        for peak in peaks_mjd:
            age = (mjd_tai - peak) / half_life_day
            decay = 0.69 * np.exp(-1.6 * np.clip(age, 0, 60)) + 0.30 * np.exp(-0.28 * np.clip(age, 0, 200))
            rise = np.clip(1.0 + age, 0.0, 1.0) ** 2
            profile = profile + np.where(age < 0, rise, decay)
        hot: FloatArray = amplitude * in_r * profile * black_body(wave_nm, FLARE_TEMPERATURE_K)
        return star + hot

    return flux


def microlensing(
    *, peak_mjd: float, impact: float, crossing_day: float
) -> Callable[[FloatArray], FloatArray]:
    """Return the magnification of a source by a point lens, the same at every wavelength (Paczynski 1986).

    Parameters
    ----------
    impact
        Least distance on the sky, in Einstein radii.
    crossing_day
        Time to cross one Einstein radius.
    """

    def factor(mjd_tai: FloatArray) -> FloatArray:
        square = impact**2 + ((mjd_tai - peak_mjd) / crossing_day) ** 2
        return np.asarray((square + 2.0) / np.sqrt(square * (square + 4.0)))

    return factor


def dust_fading(base: Law, *, start_mjd: float, depth_mag: float, fall_day: float) -> Law:
    """Return a star that its own dust hides: a fall, deeper in the blue, and no recovery in sight."""

    def flux(mjd_tai: FloatArray, wave_nm: FloatArray) -> FloatArray:
        progress = 1.0 - np.exp(-np.clip(mjd_tai - start_mjd, 0, None) / fall_day)
        extinction_mag = depth_mag * progress * (wave_nm / 622.3) ** -1.0
        return base(mjd_tai, wave_nm) * 10.0 ** (-0.4 * extinction_mag)

    return flux


def _bazin(age_day: FloatArray) -> FloatArray:
    """Return rise and fall with time scales of 4 and 20 days, not normalised."""
    return np.asarray(
        np.exp(-np.clip(age_day, -80, 400) / 20.0) / (1.0 + np.exp(-np.clip(age_day, -80, 400) / 4.0))
    )
