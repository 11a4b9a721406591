# SPDX-License-Identifier: BSD-3-Clause
"""Light curves as tokens: one an epoch, in order of time, the most recent ones where there are too many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.base import Modality, Tokens
from broker_plugin.features.period import Periods
from broker_plugin.features.photometry import SCALE_FLOOR, EpochFeatures, epoch_features, phase_features
from broker_plugin.features.ragged import row_of
from broker_plugin.records import AlertBatch, LightCurve, Origin
from broker_plugin.taxonomy import PASSBANDS

__all__ = ["CHANNELS", "Photometry", "build"]

CHANNELS: tuple[str, ...] = (
    "age_day",
    "log_age",
    "shape",
    "fraction",
    "significance",
    "log_relative_error",
    "log_wavelength",
    "forced",
    "apparent",
    "cos_phase",
    "sin_phase",
    "cos_half_phase",
    "sin_half_phase",
    "log_scatter",
    "log_signal_to_noise",
    "log_period",
    "period_significance",
    "period_known",
    "log_span",
    "log_n_epochs",
)
"""Channels of a token. From `log_scatter` on they are the same for all epochs of an alert."""

AGE_UNIT_DAY = 0.01
"""Age that `log_age` begins to resolve, a quarter of an hour: the shortest revisit of the surveys."""

PIVOT_NM = 550.0
"""Wavelength that `log_wavelength` counts from; any will do."""

_WAVELENGTH_NM = np.array([wavelength for _, wavelength in PASSBANDS])

LOG_FAP_MAX = 20.0
"""Below 1e-20 a false-alarm probability says no more."""


def build(spec: Mapping[str, Any]) -> Modality:
    """Return the modality; `spec` holds `max_epochs`, the largest number of tokens of an alert."""
    return Photometry(max_epochs=int(spec["max_epochs"]))


class Photometry:
    """Light curves as tokens of `CHANNELS`."""

    def __init__(self, *, max_epochs: int) -> None:
        self.name = "photometry"
        self.width = len(CHANNELS)
        self.longest = self.max_epochs = max_epochs

    def tokens(self, batch: AlertBatch, periods: Periods) -> Tokens:
        """Return a token for each of the last `max_epochs` epochs of every alert."""
        epochs, offsets = _most_recent(batch, self.max_epochs)
        row = row_of(offsets)
        features = epoch_features(epochs, row, batch.mjd_tai)
        columns = np.concatenate(
            [
                _of_epoch(features, epochs),
                phase_features(features.age_day, row, periods),
                _of_alert(features, periods, np.diff(offsets))[row],
            ],
            axis=1,
        )
        return Tokens(values=columns.astype(np.float32), offsets=offsets)


def _most_recent(batch: AlertBatch, max_epochs: int) -> tuple[LightCurve, NDArray[np.int64]]:
    n = batch.n_epochs
    if (n <= max_epochs).all():
        return batch.epochs, batch.offsets
    kept = np.minimum(n, max_epochs)
    position = np.arange(len(batch.epochs)) - batch.offsets[:-1][row_of(batch.offsets)]
    recent = position >= (n - kept)[row_of(batch.offsets)]
    return batch.epochs.take(recent), np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)


def _of_epoch(features: EpochFeatures, epochs: LightCurve) -> NDArray[np.float64]:
    return np.stack(
        [
            features.age_day,
            np.log10(1.0 + features.age_day / AGE_UNIT_DAY),
            np.arcsinh(features.shape),
            np.arcsinh(features.fraction),
            np.arcsinh(features.significance),
            np.log10(np.maximum(features.relative_error, SCALE_FLOOR)),
            np.log(_WAVELENGTH_NM[epochs.band] / PIVOT_NM),
            epochs.origin == Origin.FORCED,
            epochs.apparent,
        ],
        axis=1,
    )


def _of_alert(features: EpochFeatures, periods: Periods, n_epochs: NDArray[np.int64]) -> NDArray[np.float64]:
    period_day = np.where(periods.searched, periods.period_day, 1.0)
    chance = np.where(periods.searched, periods.false_alarm_probability, 1.0)
    return np.stack(
        [
            np.log10(np.maximum(features.scatter, SCALE_FLOOR)),
            np.log10(1.0 + features.signal_to_noise),
            np.log10(period_day),
            -np.log10(np.maximum(chance, 10.0**-LOG_FAP_MAX)) / LOG_FAP_MAX,
            periods.searched,
            np.log10(1.0 + features.span_day),
            np.log10(1.0 + n_epochs),
        ],
        axis=1,
    )
