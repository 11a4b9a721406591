# SPDX-License-Identifier: BSD-3-Clause
"""What the photometry tokens are made of: levels, scales and phases of the epochs of a batch.

Apparent flux is read as a fractional deviation from the median of its band, so that a star gives the same
numbers at any distance and in any band. Difference flux has no such level: it is read as it is, zero being
the reference image, in units of the alert's typical difference flux, and the tokens say which kind they are.
Everything is computed in float64 for all epochs at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.brightness import FLUX_FLOOR_NJY, MAD_TO_SIGMA
from broker_plugin.features.period import Periods
from broker_plugin.features.ragged import band_groups, segment_max, segment_median, segment_min
from broker_plugin.records import LightCurve

__all__ = ["MAX_AGE_DAY", "SCALE_FLOOR", "EpochFeatures", "epoch_features", "phase_features"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAX_AGE_DAY = 5000.0
"""Oldest age that a token can have: longer than any survey's history; an absurd time cannot exceed it."""

SCALE_FLOOR = 1e-3
"""Least fractional scatter, a tenth of the photometric precision of the surveys."""

RATIO_MAX = 1e6
"""Largest ratio of two fluxes that is told from a still larger one; keeps float32 finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochFeatures:
    """Columns over epochs (N,) and over alerts (B,).

    Parameters
    ----------
    age_day
        Days before the alert, within 0 and `MAX_AGE_DAY`.
    shape
        Deviation in units of the alert's scatter (apparent) or of its typical flux (difference).
    fraction
        Deviation as a fraction of the band's median flux; 0 for difference flux.
    significance
        Deviation in units of the epoch's error.
    relative_error
        The epoch's error in the units of `shape`.
    scatter
        Typical fractional deviation of the alert's apparent fluxes; 0 where there is none. Shape (B,).
    signal_to_noise
        Median |flux| / error of the alert's epochs. Shape (B,).
    span_day
        Between the first and the last epoch. Shape (B,).
    """

    age_day: FloatArray
    shape: FloatArray
    fraction: FloatArray
    significance: FloatArray
    relative_error: FloatArray
    scatter: FloatArray
    signal_to_noise: FloatArray
    span_day: FloatArray


def epoch_features(epochs: LightCurve, row: IntArray, alert_mjd_tai: FloatArray) -> EpochFeatures:
    """Return the features of epochs, `row` saying which alert of `alert_mjd_tai` (B,) each belongs to."""
    n_alerts = len(alert_mjd_tai)
    flux = epochs.flux_njy.astype(np.float64)
    error = np.maximum(np.abs(epochs.flux_err_njy.astype(np.float64)), FLUX_FLOOR_NJY)
    apparent = epochs.apparent
    with np.errstate(over="ignore"):
        age_day = np.clip(alert_mjd_tai[row] - epochs.mjd_tai, 0.0, MAX_AGE_DAY)
    deviation, unit = _deviation(flux, error, epochs, row)
    # In units of the band's level for apparent flux, in nJy for difference flux.
    size = np.abs(deviation) / unit
    scatter = MAD_TO_SIGMA * _median_where(size, apparent, row, n_alerts)
    noise = _median_where(error / unit, apparent, row, n_alerts)
    typical = _median_where(size, ~apparent, row, n_alerts)
    difference_noise = _median_where(error / unit, ~apparent, row, n_alerts)
    scale = np.where(
        apparent,
        np.maximum(np.maximum(scatter, noise), SCALE_FLOOR)[row],
        np.maximum(np.maximum(typical, difference_noise), FLUX_FLOOR_NJY)[row],
    )
    return EpochFeatures(
        age_day=age_day,
        shape=_bounded(deviation / unit / scale),
        fraction=np.where(apparent, _bounded(deviation / unit), 0.0),
        significance=_bounded(deviation / error),
        relative_error=_bounded(error / unit / scale),
        scatter=_bounded(scatter),
        signal_to_noise=segment_median(_bounded(np.abs(flux) / error), row, n_alerts),
        span_day=(
            segment_max(age_day, row, n_alerts, default=0.0)
            - segment_min(age_day, row, n_alerts, default=0.0)
        ),
    )


def phase_features(age_day: FloatArray, row: IntArray, periods: Periods) -> FloatArray:
    """Return cosine and sine of the phase at the period found and at twice that, 0 where there is none.

    Shape (N, 4). Phases count from the alert. Twice the period is there since the strongest peak of an
    eclipsing binary is half its period, and only the whole period tells its two eclipses apart.
    """
    searched = periods.searched[row]
    period_day = np.where(searched, periods.period_day[row], 1.0)
    turns = age_day / period_day
    columns = []
    for cycles in (turns, turns / 2):
        angle = 2 * np.pi * (cycles - np.floor(cycles))
        columns += [np.cos(angle), np.sin(angle)]
    return np.where(searched[:, None], np.stack(columns, axis=1), 0.0)


def _deviation(
    flux: FloatArray, error: FloatArray, epochs: LightCurve, row: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return flux minus its level, and the unit of that: the level itself, or 1 for difference flux."""
    group, group_row = band_groups(row, epochs.band, epochs.apparent)
    level = segment_median(flux, group, len(group_row))
    group_error = segment_median(error, group, len(group_row))
    # A level below the noise is no level: a fraction of it would be noise over noise.
    unit = np.maximum(np.abs(level), group_error)[group]
    return (
        np.where(epochs.apparent, flux - level[group], flux),
        np.where(epochs.apparent, unit, 1.0),
    )


def _median_where(values: FloatArray, wanted: NDArray[np.bool_], row: IntArray, n_alerts: int) -> FloatArray:
    return segment_median(values[wanted], row[wanted], n_alerts)


def _bounded(values: FloatArray) -> FloatArray:
    return np.clip(values, -RATIO_MAX, RATIO_MAX)
