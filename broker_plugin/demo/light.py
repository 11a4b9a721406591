# SPDX-License-Identifier: BSD-3-Clause
"""Laws of light: how bright a simulated source is at a time and a wavelength.

A law is a function of times (MJD, TAI) and wavelengths (nm), both of shape (T,), that returns fluxes in nJy.
Laws are made from few parts: a black body gives the colours, a series of harmonics the shape of a pulsation,
and one law can multiply, replace or be added to another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.surveys.photometry import AB_ZERO_NJY

__all__ = [
    "SHAPES",
    "Change",
    "FloatArray",
    "Law",
    "Shape",
    "ab_flux_njy",
    "ab_magnitude",
    "black_body",
    "damped_random_walk",
    "eclipses",
    "magnified",
    "pulsation",
    "pulsator",
    "spots",
    "steady",
]

FloatArray = NDArray[np.float64]
Law = Callable[[FloatArray, FloatArray], FloatArray]
Change = Callable[[FloatArray, FloatArray], FloatArray]
"""Like a law, but of magnitudes that are added to a source's."""

R_NM = 622.3
"""Wavelength at which brightness is given: the middle of the r band."""

G_NM = 472.3
"""Wavelength at which amplitudes are given: the middle of the g band."""

HC_OVER_K_NM_K = 1.438777e7
"""Second radiation constant, in nm K."""

PULSATION_COLOUR = -1.2
"""Amplitude goes as wavelength to this power: 0.71 of the g amplitude in r, 0.57 in i and 0.48 in z, close to
the RR Lyrae templates of Sesar et al. (2010). At 0 the stars would pulsate without changing colour."""


CONTACT_SHARPNESS = 2.8
"""Power of the cosine in the light of two deformed stars: 2 is a pure ellipsoidal wave, above it the minima
are narrower than the maxima, as in contact binaries."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of a pulsation in magnitudes: ratios to and phases against the first harmonic, sines."""

    ratios: tuple[float, ...]
    phases_rad: tuple[float, ...]

    def __call__(self, phase: FloatArray) -> FloatArray:
        """Return the shape at phases in cycles: mean 0, peak to peak 1, maximum light at phase 0."""
        low, high, at_maximum = self._extremes()
        return self._series(phase + at_maximum) / (high - low)

    def _series(self, phase: FloatArray) -> FloatArray:
        total = np.sin(2 * np.pi * phase)
        for order, (ratio, lag) in enumerate(zip(self.ratios, self.phases_rad, strict=True), start=2):
            total = total + ratio * np.sin(2 * np.pi * order * phase + lag)
        return total

    def _extremes(self) -> tuple[float, float, float]:
        grid = np.linspace(0.0, 1.0, 512, endpoint=False)
        values = self._series(grid)
        return float(values.min()), float(values.max()), float(grid[values.argmin()])


SHAPES: dict[str, Shape] = {
    "RRAB": Shape((0.47, 0.34, 0.22, 0.15, 0.10), (2.35, 5.05, 1.55, 4.40, 0.95)),
    "RRC": Shape((0.13, 0.07), (2.90, 3.60)),
    "DSCT": Shape((0.36, 0.15, 0.06), (2.45, 5.00, 1.30)),
    "CEP": Shape((0.22, 0.10), (3.60, 1.00)),
    "LPV": Shape((0.18, 0.05), (2.00, 4.20)),
}
"""Typical Fourier coefficients of the light curves in V (Jurcsik & Kovacs 1996 for RRab; Poretti 2001 for
RRc; Rodriguez et al. 1996 for high-amplitude delta Scuti stars), rounded."""


def ab_flux_njy(magnitude: FloatArray | float) -> FloatArray:
    """Return the flux in nJy of an AB magnitude.

    Examples
    --------
    >>> round(float(ab_flux_njy(31.4)), 3)
    1.0
    """
    return np.asarray(AB_ZERO_NJY * 10.0 ** (-0.4 * np.asarray(magnitude, np.float64)))


def ab_magnitude(flux_njy: FloatArray | float) -> FloatArray:
    """Return the AB magnitude of a positive flux in nJy.

    Examples
    --------
    >>> round(float(ab_magnitude(100.0)), 3)
    26.4
    """
    return np.asarray(-2.5 * np.log10(np.asarray(flux_njy, np.float64) / AB_ZERO_NJY))


def black_body(wave_nm: FloatArray, temperature_k: FloatArray | float) -> FloatArray:
    """Return the spectral flux density per frequency of a black body, 1 at the middle of r."""
    return _planck(wave_nm, temperature_k) / _planck(np.asarray(R_NM), temperature_k)


def steady(*, mag_r: float, temperature_k: float) -> Law:
    """Return a source that does not change."""
    return lambda mjd_tai, wave_nm: ab_flux_njy(mag_r) * black_body(wave_nm, temperature_k)


def pulsation(
    *,
    shape: Shape,
    period_day: float,
    epoch_mjd: float,
    amplitude_mag: float,
    colour: float = PULSATION_COLOUR,
) -> Change:
    """Return a pulsation alone, in magnitudes; `amplitude_mag` is peak to peak in g."""

    def magnitudes(mjd_tai: FloatArray, wave_nm: FloatArray) -> FloatArray:
        phase = (mjd_tai - epoch_mjd) / period_day
        return amplitude_mag * (wave_nm / G_NM) ** colour * shape(phase)

    return magnitudes


def pulsator(base: Law, modes: Sequence[Change]) -> Law:
    """Return a source whose magnitude changes by the sum of pulsations."""

    def flux(mjd_tai: FloatArray, wave_nm: FloatArray) -> FloatArray:
        change = sum((mode(mjd_tai, wave_nm) for mode in modes), np.zeros_like(mjd_tai))
        return base(mjd_tai, wave_nm) * 10.0 ** (-0.4 * change)

    return flux


def eclipses(
    *, period_day: float, epoch_mjd: float, depths: tuple[float, float], width: float, contact: bool
) -> Callable[[FloatArray], FloatArray]:
    """Return the share of an eclipsing binary's light that is seen at a time.

    Parameters
    ----------
    depths
        Light lost in the middle of the primary and the secondary eclipse, 0 to 1.
    width
        Length of an eclipse as a fraction of the period, from first contact to last.
    contact
        Whether the stars are deformed, so that the light never stops changing (EW), or round (EA). Deformed
        ones show their narrow sides twice an orbit.
    """

    def share(mjd_tai: FloatArray) -> FloatArray:
        phase = (mjd_tai - epoch_mjd) / period_day
        if contact:
            dip = np.abs(np.cos(2 * np.pi * phase)) ** CONTACT_SHARPNESS
            primary = np.cos(2 * np.pi * phase) > 0
            return 1.0 - np.where(primary, depths[0], depths[1]) * dip
        return 1.0 - depths[0] * _trapezoid(phase, width) - depths[1] * _trapezoid(phase - 0.5, width)

    return share


def magnified(base: Law, factor: Callable[[FloatArray], FloatArray]) -> Law:
    """Return a source whose light is multiplied by a factor that depends on time alone."""
    return lambda mjd_tai, wave_nm: base(mjd_tai, wave_nm) * factor(mjd_tai)


def spots(*, period_day: float, epoch_mjd: float, amplitude: float, second: float) -> Change:
    """Return the magnitudes of a rotating star with two groups of spots; spots are darker in the blue.

    Parameters
    ----------
    amplitude
        Of the first group alone, peak to peak in g.
    second
        Strength of the second group in that of the first; it comes twice in a turn.
    """

    def magnitudes(mjd_tai: FloatArray, wave_nm: FloatArray) -> FloatArray:
        phase = 2 * np.pi * (mjd_tai - epoch_mjd) / period_day
        return 0.5 * amplitude * (wave_nm / G_NM) ** -0.6 * (np.sin(phase) + second * np.sin(2 * phase + 1.0))

    return magnitudes


def damped_random_walk(
    rng: np.random.Generator, *, start_mjd: float, stop_mjd: float, tau_day: float, scatter_mag: float
) -> Change:
    """Return the magnitudes of an accretion disc that flickers (Kelly et al. 2009), larger in the blue."""
    step_day = 0.25
    times = np.arange(start_mjd, stop_mjd + step_day, step_day)
    memory = np.exp(-step_day / tau_day)
    kicks = rng.normal(size=len(times)) * scatter_mag * np.sqrt(1 - memory**2)
    walk = np.empty(len(times))
    walk[0] = rng.normal() * scatter_mag
    for row in range(1, len(times)):
        walk[row] = memory * walk[row - 1] + kicks[row]
    return lambda mjd_tai, wave_nm: np.interp(mjd_tai, times, walk) * (wave_nm / G_NM) ** -0.5


def _planck(wave_nm: FloatArray, temperature_k: FloatArray | float) -> FloatArray:
    return wave_nm**-3.0 / np.expm1(HC_OVER_K_NM_K / (wave_nm * temperature_k))


def _trapezoid(phase: FloatArray, width: float) -> FloatArray:
    """Return 1 in the flat middle third of an eclipse, 0 outside it and a smooth ramp between."""
    distance = np.abs(phase - np.round(phase)) / (width / 2)
    ramp = np.clip((1.0 - distance) / (2.0 / 3.0), 0.0, 1.0)
    return ramp * ramp * (3.0 - 2.0 * ramp)
