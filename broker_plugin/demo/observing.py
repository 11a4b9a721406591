# SPDX-License-Identifier: BSD-3-Clause
"""How a survey sees a source: its cadence, depth, noise, reference image and detection threshold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from broker_plugin.demo.light import FloatArray, Law, ab_flux_njy
from broker_plugin.taxonomy import PASSBANDS

__all__ = ["DETECTION_SNR", "LSST", "ZTF", "Observations", "Survey", "observe", "plan_visits"]

DETECTION_SNR = 5.0
"""A difference becomes an alert above this many standard deviations, in both surveys."""

REFERENCE_AGE_DAY = (400.0, 900.0)
"""When the exposures of the reference image were taken, before the night: all outbursts of the night were not
yet in it."""

REFERENCE_EXPOSURES = 30
"""Exposures in a reference image; with fewer, a variable's phase would remain in it."""

MOON_MONTH_DAY = 29.53

SECOND_VISIT_SHARE = 0.4
"""How often a field is visited twice on the night; more, and the night has fewer objects for its alerts."""

_WAVE_NM = MappingProxyType(dict(PASSBANDS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """One survey.

    Parameters
    ----------
    depth_mag
        Five-sigma depth of one exposure on a dark night, by band.
    electron_njy
        Flux of one photo-electron in an exposure: sets the photon noise of the source itself.
    floor
        Noise of a subtraction as a share of the source's flux: registration and flat field.
    range_mag
        Mean magnitudes of the sources that are simulated.
    """

    name: str
    depth_mag: MappingProxyType[str, float]
    electron_njy: float
    floor: float
    range_mag: tuple[float, float]
    exposure_s: float = 30.0

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands, as in the packets."""
        return tuple(self.depth_mag)

    def wave_nm(self, bands: NDArray[np.str_]) -> FloatArray:
        """Return the effective wavelengths of bands."""
        return np.array([_WAVE_NM[f"{self.name}_{band}"] for band in bands], np.float64)


ZTF = Survey(
    name="ztf",
    depth_mag=MappingProxyType({"g": 20.8, "r": 20.6}),
    electron_njy=17.7,
    floor=0.012,
    range_mag=(14.0, 19.8),
)
LSST = Survey(
    name="lsst",
    depth_mag=MappingProxyType({"u": 23.9, "g": 25.0, "r": 24.7, "i": 24.0, "z": 23.3, "y": 22.1}),
    electron_njy=0.52,
    floor=0.005,
    range_mag=(17.0, 22.8),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """What one survey measured of one source, in order of time; columns of shape (T,).

    Parameters
    ----------
    difference_njy, error_njy
        Measured flux on the difference image, and its standard deviation.
    limit_mag
        Five-sigma depth of the exposure.
    reference_njy
        Flux on the reference image, by band.
    """

    mjd_tai: FloatArray
    band: NDArray[np.str_]
    difference_njy: FloatArray
    error_njy: FloatArray
    limit_mag: FloatArray
    reference_njy: MappingProxyType[str, float]

    def __len__(self) -> int:
        return len(self.mjd_tai)

    @property
    def detected(self) -> NDArray[np.bool_]:
        """Tell which epochs the survey's own detection saw."""
        return np.abs(self.difference_njy) > DETECTION_SNR * self.error_njy

    def before(self, row: int) -> Observations:
        """Return the epochs up to and including `row`."""
        stop = slice(row + 1)
        return Observations(
            mjd_tai=self.mjd_tai[stop],
            band=self.band[stop],
            difference_njy=self.difference_njy[stop],
            error_njy=self.error_njy[stop],
            limit_mag=self.limit_mag[stop],
            reference_njy=self.reference_njy,
        )


def plan_visits(
    survey: Survey, rng: np.random.Generator, *, tonight_mjd: float
) -> tuple[FloatArray, NDArray[np.str_]]:
    """Return times (MJD, TAI) and bands of a field's visits, the last ones tonight around `tonight_mjd`."""
    plan = _PLANS[survey.name]
    visits = sorted((tonight_mjd + offset_day, band) for offset_day, band in plan(rng))
    return np.array([mjd for mjd, _ in visits]), np.array([band for _, band in visits])


def observe(
    law: Law,
    survey: Survey,
    rng: np.random.Generator,
    *,
    mjd_tai: FloatArray,
    band: NDArray[np.str_],
) -> Observations:
    """Return what a survey measures of a source at the given visits, against a reference image."""
    wave_nm = survey.wave_nm(band)
    flux = law(mjd_tai, wave_nm)
    reference = _reference(law, survey, rng, night_mjd=float(mjd_tai[-1]))
    limit_mag = _limits(survey, rng, mjd_tai, band)
    subtracted = np.array([reference[name] for name in band])
    variance = (
        (ab_flux_njy(limit_mag) / DETECTION_SNR) ** 2
        + np.maximum(flux, subtracted) * survey.electron_njy
        + (survey.floor * np.maximum(flux, subtracted)) ** 2
    )
    error = np.sqrt(variance)
    return Observations(
        mjd_tai=mjd_tai,
        band=band,
        difference_njy=flux - subtracted + error * rng.normal(size=len(flux)),
        error_njy=error,
        limit_mag=limit_mag,
        reference_njy=MappingProxyType(reference),
    )


def _reference(law: Law, survey: Survey, rng: np.random.Generator, *, night_mjd: float) -> dict[str, float]:
    times = night_mjd - rng.uniform(*REFERENCE_AGE_DAY, size=REFERENCE_EXPOSURES)
    return {
        name: float(law(times, survey.wave_nm(np.full(REFERENCE_EXPOSURES, name))).mean())
        for name in survey.bands
    }


def _limits(
    survey: Survey, rng: np.random.Generator, mjd_tai: FloatArray, band: NDArray[np.str_]
) -> FloatArray:
    """Return depths: worse by moonlight (in the blue most) and by the night's seeing."""
    moon = 0.5 + 0.5 * np.cos(2 * np.pi * mjd_tai / MOON_MONTH_DAY)
    blue = (500.0 / survey.wave_nm(band)) ** 2
    dark = np.array([survey.depth_mag[name] for name in band])
    return np.asarray(dark - 0.7 * moon * blue - np.abs(rng.normal(0, 0.2, len(band))))


def _plan_ztf(rng: np.random.Generator) -> list[tuple[float, str]]:
    """Draw thirty days: a visit in g and in r every second night, a fifth of the nights clouded out.

    One field in eight belongs to a denser programme: three visits in each band every clear night.
    """
    dense = rng.random() < 0.125
    first, second = ("g", "r") if rng.random() < 0.5 else ("r", "g")
    visits = [(0.0, first)]
    if rng.random() < SECOND_VISIT_SHARE:
        visits.append((float(rng.uniform(0.02, 0.06)), second))
    for night in range(1, 31):
        if rng.random() < 0.2 or not (dense or night % 2 == 0):
            continue
        start = -night + float(rng.normal(0, 0.05))
        for repeat in range(3 if dense else 1):
            visits.append((start + 0.03 * repeat, "g"))
            visits.append((start + 0.03 * repeat + float(rng.uniform(0.005, 0.12)), "r"))
    return visits


def _plan_lsst(rng: np.random.Generator) -> list[tuple[float, str]]:
    """Draw a season of the wide survey: pairs of visits in two bands about every fourth night.

    One field in twelve is a deep one: four bands every second night for three months.
    """
    if rng.random() < 1 / 12:
        nights = range(2, 90, 2)
        return [(0.0, "r"), (0.02, "i")] + [
            (-night + float(rng.normal(0, 0.05)) + 0.01 * rank, band)
            for night in nights
            if rng.random() < 0.8
            for rank, band in enumerate("griz")
        ]
    pairs = ("ug", "gr", "gr", "ri", "ri", "iz", "iz", "zy", "yi")
    tonight = pairs[int(rng.integers(1, 7))]
    visits = [(0.0, tonight[0])]
    if rng.random() < SECOND_VISIT_SHARE:
        visits.append((0.017, tonight[1]))
    night = 0.0
    while night < 190.0:
        night += 1.0 + float(rng.exponential(5.0))
        pair = pairs[int(rng.integers(len(pairs)))]
        start = -round(night) + float(rng.normal(0, 0.08))
        visits += [(start, pair[0]), (start + float(rng.uniform(0.012, 0.025)), pair[1])]
    return visits


_PLANS: MappingProxyType[str, Callable[[np.random.Generator], list[tuple[float, str]]]] = MappingProxyType(
    {"ztf": _plan_ztf, "lsst": _plan_lsst}
)
