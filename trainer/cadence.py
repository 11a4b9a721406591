# SPDX-License-Identifier: BSD-3-Clause
"""When and how deep a survey looks: the cadences and noise that imitated alerts are made with."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from broker_plugin.surveys.photometry import AB_ZERO_NJY
from broker_plugin.taxonomy import PASSBANDS, passband_code

__all__ = ["DETECTION_SIGMA", "LSST", "ZTF", "Survey", "band_amplitude", "noise_njy", "visits"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What matters of a survey for the light curves in its alerts.

    Parameters
    ----------
    limit_mag
        Median 5-sigma limit of one exposure; nights scatter by `limit_scatter_mag`.
    systematic
        Least relative error of a flux.
    windows
        Chance, shortest and longest history in days (log-uniform between).
    dimming_mag_max
        How much farther away than in the catalogue its stars can be, to reach its limit.
    pairs
        Bands of the two exposures that it takes of a field in a night, half an hour apart, in their order.
    """

    name: str
    bands: tuple[int, ...]
    limit_mag: float
    limit_scatter_mag: float
    systematic: float
    windows: tuple[tuple[float, float, float], ...]
    dimming_mag_max: float
    pairs: tuple[tuple[int, int], ...]


def _either_way(*pairs: tuple[str, str]) -> tuple[tuple[int, int], ...]:
    codes = [(passband_code(one), passband_code(other)) for one, other in pairs]
    return (*codes, *((other, one) for one, other in codes))


ZTF = Survey(
    name="ztf",
    bands=tuple(passband_code(name) for name in ("ztf_g", "ztf_r", "ztf_i")),
    limit_mag=20.6,
    limit_scatter_mag=0.5,
    systematic=0.015,
    # A packet holds 30 days; a store of histories goes farther back.
    windows=((0.6, 30.0, 30.0), (0.2, 2.0, 30.0), (0.2, 30.0, 1500.0)),
    dimming_mag_max=3.0,
    pairs=_either_way(("ztf_g", "ztf_r")),
)

LSST = Survey(
    name="lsst",
    bands=tuple(passband_code(f"lsst_{band}") for band in "ugrizy"),
    limit_mag=24.3,
    limit_scatter_mag=0.6,
    systematic=0.01,
    # A packet holds a year; the deep fields began with hundreds of epochs in 80 days.
    windows=((0.4, 50.0, 90.0), (0.6, 1.0, 365.0)),
    dimming_mag_max=6.0,
    pairs=_either_way(*((f"lsst_{one}", f"lsst_{other}") for one, other in pairwise("ugrizy"))),
)

DETECTION_SIGMA = 5.0
"""An alert is issued where the difference image shows this many sigma; limits are given at it, too."""

NIGHT_DAY = 0.35
"""Length of the dark part of a night."""

AMPLITUDE_SLOPE_MIN, AMPLITUDE_SLOPE_MAX = -0.2, 1.2
"""Amplitudes go as wavelength to minus this power: near 0 for eclipses, near 1 for pulsation. It is drawn
without regard to the class: the training light curves hold one band and could not teach the difference."""


def band_amplitude(bands: tuple[int, ...], rng: np.random.Generator) -> dict[int, float]:
    """Return by how much the amplitude in each band differs from that in V."""
    slope = rng.uniform(AMPLITUDE_SLOPE_MIN, AMPLITUDE_SLOPE_MAX)
    return {
        band: float((PASSBANDS[band][1] / 551.0) ** -slope * np.exp(rng.normal(0.0, 0.05))) for band in bands
    }


def noise_njy(flux_njy: FloatArray, survey: Survey, rng: np.random.Generator) -> FloatArray:
    """Return the standard deviation of each visit's flux: the night's sky, and what calibration leaves."""
    limit = survey.limit_mag + rng.normal(0.0, survey.limit_scatter_mag, len(flux_njy))
    sky = AB_ZERO_NJY * 10 ** (-0.4 * limit) / DETECTION_SIGMA
    return np.hypot(sky, survey.systematic * np.abs(flux_njy))


def visits(survey: Survey, n: int, rng: np.random.Generator) -> tuple[FloatArray, NDArray[np.int8]]:
    """Return the times (days before the last, rising to 0) and the bands of `n` visits."""
    chances, lows, highs = zip(*survey.windows, strict=True)
    window = rng.choice(len(chances), p=chances)
    span_day = float(np.exp(rng.uniform(np.log(lows[window]), np.log(highs[window]))))
    nights = rng.integers(0, max(1, int(np.ceil(span_day))), n)
    if rng.random() < 0.3:
        # Weather and the moon: a stretch without visits moves its visits to the other nights.
        gap = rng.uniform(0, span_day, 2)
        inside = (nights > gap.min()) & (nights < gap.max())
        outside = nights[~inside]
        if len(outside):
            nights = np.where(inside, rng.choice(outside, n), nights)
    # Before the alert by whole nights, give or take the hour; a revisit follows within the same night.
    age_day = np.abs(nights + rng.uniform(-NIGHT_DAY, NIGHT_DAY, n))
    age_day = np.sort(age_day)[::-1]
    age_day -= age_day[-1]
    size = int(rng.integers(1, len(survey.bands) + 1))
    bands = rng.choice(survey.bands, size, replace=False)
    return -age_day, rng.choice(bands, n).astype(np.int8)
