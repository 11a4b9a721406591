# SPDX-License-Identifier: BSD-3-Clause
"""How a light curve varies, in numbers that need no period: spread, skewness, pace within and between nights.

All columns are computed for a whole batch at once. Apparent fluxes are compared in magnitudes, difference
fluxes in units of the alert's typical difference flux; each band is brought to its own median first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.brightness import MAD_TO_SIGMA, faintness
from broker_plugin.features.ragged import (
    band_groups,
    row_of,
    segment_max,
    segment_median,
    segment_min,
    segment_quantiles,
)
from broker_plugin.records import AlertBatch, Origin

__all__ = ["COLUMNS", "variability"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

QUANTILES = (0.02, 0.05, 0.10, 0.25, 0.75, 0.90, 0.95, 0.98)
"""Of the deviations; the median is zero by construction."""

COLUMNS: tuple[str, ...] = (
    "log_n_epochs",
    "log_span",
    "log_n_nights",
    "apparent_share",
    "forced_share",
    "log_n_bands",
    "log_error",
    "log_deviation",
    "log_mad",
    "log_deviation_to_error",
    "log_chi_square",
    "log_amplitude",
    *(f"quantile_{100 * quantile:g}" for quantile in QUANTILES),
    "skewness",
    "log_kurtosis",
    "share_beyond_error",
    "share_beyond_two_mad",
    "share_faint",
    "share_bright",
    "von_neumann",
    "von_neumann_in_night",
    "log_within_night",
    "log_between_nights",
    "log_night_ratio",
    "log_median_slope",
    "log_largest_slope",
    "faintest",
    "brightest",
    "mean_trend",
    "largest_trend",
    "log_largest_trend_slope",
    "log_trend_residual",
    "mean_trend_sign",
    "roundness",
    "last",
    "first",
    "last_significance",
    "last_night_change",
    "brightest_run",
    "faintest_run",
    "largest_exposure_deviation",
)
"""Names of the columns."""

LEAST = 1e-5
"""Below it logarithms stop: far less than the error of any photometry, in magnitudes or relative flux."""

MAX_AGE_DAY = 1e5
"""Oldest age of an epoch, longer than any survey: an absurd time cannot exceed it."""

SAME_NIGHT_DAY = 0.3
"""Epochs nearer than this are exposures of one night."""

FASTEST_DAY = 1e-3
"""Shortest time between two exposures that a slope is taken over, a minute and a half."""

TREND_EPOCHS = 3
"""Exposures in a night from which a straight line says more than their mean."""

BOUND = 10.0
"""Largest value of a column. The logarithms and hyperbolic sines stay below it unless a packet is absurd."""


def variability(batch: AlertBatch) -> FloatArray:
    """Return the columns (B, len(COLUMNS)) of the alerts of a batch, 0 for one without epochs.

    Examples
    --------
    >>> variability(AlertBatch.from_alerts([])).shape == (0, len(COLUMNS))
    True
    """
    n = len(batch)
    row = row_of(batch.offsets)
    if not len(row):
        return np.zeros((n, len(COLUMNS)))
    deviation, error, group = _deviations(batch, row)
    with np.errstate(over="ignore"):
        age_day = np.clip(batch.mjd_tai[row] - batch.epochs.mjd_tai, 0.0, MAX_AGE_DAY)
    columns = [
        *_sampling(batch, row, age_day),
        *_spread(deviation, error, row, n),
        *_pace(deviation, age_day, row, group, n),
        *_extremes(deviation, error, row, n),
        *_trends(deviation, error, age_day, row, n),
        *_ends(deviation, error, age_day, row, batch),
        *_runs(deviation, error, age_day, row, group, n),
        _exposure_deviation(deviation, error, age_day, row, group, n),
    ]
    values = np.clip(np.nan_to_num(np.stack(columns, axis=1)), -BOUND, BOUND)
    return np.where((batch.n_epochs > 0)[:, None], values, 0.0)


def _deviations(batch: AlertBatch, row: IntArray) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return the deviation of each epoch from its band's median, its error, and its band group."""
    epochs = batch.epochs
    group, group_row = band_groups(row, epochs.band, epochs.apparent)
    faint, error = faintness(epochs, group, len(group_row))
    level = segment_median(faint, group, len(group_row))[group]
    difference = ~epochs.apparent
    typical = np.maximum(
        segment_median(np.abs(faint[difference]), row[difference], len(batch)),
        segment_median(error[difference], row[difference], len(batch)),
    )
    typical = np.where(typical > 0, typical, 1.0)[row]
    # The zero of difference flux is the reference image, which says more than the median of a few detections.
    deviation = np.where(difference, faint / typical, faint - level)
    return deviation, np.where(difference, error / typical, error), group


def _sampling(batch: AlertBatch, row: IntArray, age_day: FloatArray) -> list[FloatArray]:
    n = len(batch)
    count = np.maximum(batch.n_epochs, 1)
    span = segment_max(age_day, row, n, default=0.0) - segment_min(age_day, row, n, default=0.0)
    nights = np.unique(row * (1 << 20) + np.floor(age_day + 0.5).astype(np.int64)) >> 20
    bands = np.unique(row * 256 + batch.epochs.band.astype(np.int64)) // 256
    return [
        np.log10(count),
        np.log10(1e-3 + span),
        np.log10(np.maximum(np.bincount(nights, minlength=n), 1)),
        np.bincount(row, batch.epochs.apparent, n) / count,
        np.bincount(row, batch.epochs.origin == Origin.FORCED, n) / count,
        np.log10(np.maximum(np.bincount(bands, minlength=n), 1)),
    ]


def _spread(deviation: FloatArray, error: FloatArray, row: IntArray, n: int) -> list[FloatArray]:
    mean, deviation_std = _moments(deviation, row, n)
    mad = MAD_TO_SIGMA * segment_median(np.abs(deviation), row, n)
    typical_error = segment_median(error, row, n)
    scale = np.maximum(np.maximum(mad, typical_error), 1e-4)
    weight = 1.0 / np.maximum(error, LEAST) ** 2
    weighted = np.bincount(row, weight * deviation, n) / np.maximum(np.bincount(row, weight, n), 1e-12)
    significance = (deviation - weighted[row]) / np.maximum(error, LEAST)
    quantiles = segment_quantiles(deviation, row, n, QUANTILES)
    normal = (deviation - mean[row]) / np.maximum(deviation_std, LEAST)[row]
    scaled = deviation / scale[row]
    return [
        _log(typical_error),
        _log(deviation_std),
        _log(mad),
        _log(deviation_std / np.maximum(typical_error, LEAST)),
        _log(_mean(significance**2, row, n)),
        _log(quantiles[:, QUANTILES.index(0.95)] - quantiles[:, QUANTILES.index(0.05)]),
        *np.arcsinh(quantiles / scale[:, None]).T,
        _mean(normal**3, row, n),
        np.log1p(_mean(normal**4, row, n)),
        _mean(np.abs(significance) > 1, row, n),
        _mean(np.abs(scaled) > 2, row, n),
        _mean(scaled > 1, row, n),
        _mean(scaled < -1, row, n),
    ]


def _pace(
    deviation: FloatArray, age_day: FloatArray, row: IntArray, group: IntArray, n: int
) -> list[FloatArray]:
    """Return how fast the deviations change between epochs that follow one another in a band."""
    _, std = _moments(deviation, row, n)
    variance = np.maximum(std**2, LEAST**2)
    order = np.lexsort((-age_day, group))
    change, gap_day = np.diff(deviation[order]), -np.diff(age_day[order])
    neighbours = np.diff(group[order]) == 0
    near = neighbours & (gap_day < SAME_NIGHT_DAY)
    owner = row[order][1:]
    slope = np.abs(change) / np.maximum(gap_day, FASTEST_DAY)
    night, night_row = _nights(row, group, age_day)
    n_nights = len(night_row)
    of_night = np.bincount(night, minlength=n_nights)
    night_mean = np.bincount(night, deviation, n_nights) / of_night
    left = np.bincount(row, (deviation - night_mean[night]) ** 2, n)
    free = np.maximum(np.bincount(row, minlength=n) - np.bincount(night_row, minlength=n), 1)
    within = np.sqrt(left / free)
    _, between = _moments(night_mean, night_row, n)
    return [
        _mean(change[neighbours] ** 2, owner[neighbours], n) / variance,
        _mean(change[near] ** 2, owner[near], n) / variance,
        _log(within),
        _log(between),
        _log(within / np.maximum(between, 1e-4)),
        _log(segment_median(slope[near], owner[near], n)),
        _log(segment_max(slope[near], owner[near], n, default=0.0)),
    ]


def _extremes(deviation: FloatArray, error: FloatArray, row: IntArray, n: int) -> list[FloatArray]:
    mad = MAD_TO_SIGMA * segment_median(np.abs(deviation), row, n)
    scale = np.maximum(np.maximum(mad, segment_median(error, row, n)), 1e-4)
    return [
        np.arcsinh(segment_max(deviation, row, n, default=0.0) / scale),
        np.arcsinh(-segment_min(deviation, row, n, default=0.0) / scale),
    ]


def _trends(
    deviation: FloatArray, error: FloatArray, age_day: FloatArray, row: IntArray, n: int
) -> list[FloatArray]:
    """Return the straight lines through the exposures of single nights."""
    night, night_row = _nights(row, row, age_day)
    n_nights = len(night_row)
    count = np.bincount(night, minlength=n_nights)
    time = -age_day + (np.bincount(night, age_day, n_nights) / count)[night]
    centred = deviation - (np.bincount(night, deviation, n_nights) / count)[night]
    leverage = np.bincount(night, time**2, n_nights)
    line = np.bincount(night, time * centred, n_nights) / np.maximum(leverage, 1e-12)
    residual = np.sqrt(np.bincount(night, (centred - line[night] * time) ** 2, n_nights) / count)
    usable = (count >= TREND_EPOCHS) & (leverage > 1e-9)
    night_error = np.maximum(segment_median(error, night, n_nights), 1e-3)
    owner = night_row[usable]
    strength = np.abs(line * np.sqrt(leverage) / night_error)[usable]
    return [
        np.arcsinh(_mean(strength, owner, n)),
        np.arcsinh(segment_max(strength, owner, n, default=0.0)),
        _log(segment_max(np.abs(line[usable]), owner, n, default=0.0)),
        _log(_mean((residual / night_error)[usable], owner, n)),
        _mean(np.sign(line[usable]), owner, n),
    ]


def _ends(
    deviation: FloatArray, error: FloatArray, age_day: FloatArray, row: IntArray, batch: AlertBatch
) -> list[FloatArray]:
    """Return where the light curve begins and ends, which is where an alert is raised."""
    n = len(batch)
    mad = MAD_TO_SIGMA * segment_median(np.abs(deviation), row, n)
    scale = np.maximum(np.maximum(mad, segment_median(error, row, n)), 1e-4)
    significance = deviation / np.maximum(error, LEAST)
    round_ = _mean(np.abs(significance), row, n) / np.maximum(np.sqrt(_mean(significance**2, row, n)), 1e-9)
    filled = batch.n_epochs > 0
    first, last = np.where(filled, batch.offsets[:-1], 0), np.where(filled, batch.offsets[1:] - 1, 0)
    tonight = age_day < SAME_NIGHT_DAY
    change = _mean(deviation[tonight], row[tonight], n) - _mean(deviation[~tonight], row[~tonight], n)
    return [
        round_,
        np.arcsinh(deviation[last] / scale),
        np.arcsinh(deviation[first] / scale),
        np.arcsinh(significance[last]),
        np.arcsinh(change / scale),
    ]


def _runs(
    deviation: FloatArray, error: FloatArray, age_day: FloatArray, row: IntArray, group: IntArray, n: int
) -> list[FloatArray]:
    """Return the strongest run of nights on the bright side of the median, and on the faint side.

    Strength is the sum of the deviations over the typical scatter and the root of their number: that of a
    matched filter for an event of unknown shape and duration. A periodic star crosses its median each period,
    so its runs stay short; an outburst, a lensed star and one that fades do not.
    """
    night, night_row = _nights(row, group, age_day)
    n_nights = len(night_row)
    total, count = np.bincount(night, deviation, n_nights), np.bincount(night, minlength=n_nights)
    night_group = segment_max(group.astype(np.float64), night, n_nights, default=0.0)
    faint = total > 0
    begins = np.ones(n_nights, np.bool_)
    begins[1:] = (faint[1:] != faint[:-1]) | (night_group[1:] != night_group[:-1])
    run = np.cumsum(begins) - 1
    n_runs = int(begins.sum())
    mad = MAD_TO_SIGMA * segment_median(np.abs(deviation), row, n)
    scale = np.maximum(np.maximum(mad, segment_median(error, row, n)), 1e-4)
    owner, is_faint = night_row[begins], faint[begins]
    strength = (
        np.abs(np.bincount(run, total, n_runs)) / np.sqrt(np.bincount(run, count, n_runs)) / scale[owner]
    )
    return [
        np.arcsinh(segment_max(strength[side], owner[side], n, default=0.0)) for side in (~is_faint, is_faint)
    ]


def _exposure_deviation(
    deviation: FloatArray, error: FloatArray, age_day: FloatArray, row: IntArray, group: IntArray, n: int
) -> FloatArray:
    """Return the largest deviation of an exposure from the others of its night, in units of its error.

    Nothing in the sky that a survey sees lasts one exposure only, save the shortest flares.
    """
    night, night_row = _nights(row, group, age_day)
    count = np.bincount(night, minlength=len(night_row))[night]
    mean = (np.bincount(night, deviation, len(night_row)) / np.bincount(night, minlength=len(night_row)))[
        night
    ]
    shared = count > 1
    others = np.abs(deviation - mean)[shared] * count[shared] / (count[shared] - 1)
    return np.asarray(
        np.arcsinh(segment_max(others / np.maximum(error[shared], LEAST), row[shared], n, default=0.0))
    )


def _nights(row: IntArray, group: IntArray, age_day: FloatArray) -> tuple[IntArray, IntArray]:
    """Return the night of each epoch, numbered over all groups, and the row of each night."""
    key = group * (1 << 20) + np.floor(age_day + 0.5).astype(np.int64)
    _, first, night = np.unique(key, return_index=True, return_inverse=True)
    return night.astype(np.int64), row[first]


def _moments(values: FloatArray, row: IntArray, n: int) -> tuple[FloatArray, FloatArray]:
    mean = _mean(values, row, n)
    return mean, np.sqrt(_mean((values - mean[row]) ** 2, row, n))


def _mean(values: NDArray[np.generic], row: IntArray, n: int) -> FloatArray:
    count = np.bincount(row, minlength=n)
    return np.bincount(row, values.astype(np.float64), n) / np.maximum(count, 1)


def _log(values: FloatArray) -> FloatArray:
    return np.asarray(np.log10(np.maximum(values, LEAST)))
