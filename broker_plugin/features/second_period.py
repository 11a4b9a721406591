# SPDX-License-Identifier: BSD-3-Clause
"""A second period: the periodogram of what the best fold of a light curve leaves over.

Stars that pulsate in two modes, binaries with a pulsating member and blends of two variables have one; a star
of a single period leaves noise. Prewhitening is the usual way to find it (e.g. Lenz & Breger 2005).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.folding import Folds
from broker_plugin.features.period import Searched, periodogram_peaks

__all__ = ["COLUMNS", "MIN_EPOCHS", "second_periods"]

FloatArray = NDArray[np.float64]

COLUMNS: tuple[str, ...] = (
    "second_searched",
    "second_power",
    "second_lead",
    "second_significance",
    "second_log_frequency",
    "second_log_ratio",
    "log_left_chi_square",
    "log_left_share",
)
"""Names of the columns."""

MIN_EPOCHS = 40
"""With fewer epochs a fit of 17 coefficients leaves nothing to be searched, and a search costs as much as the
first one."""

RATIO_MAX = 1.0
"""Decades between the two frequencies, beyond which only the direction counts."""


def second_periods(epochs: Searched, folds: Folds) -> FloatArray:
    """Return the columns (B, len(COLUMNS)) of the alerts of a batch, 0 where no second period was searched.

    Parameters
    ----------
    epochs, folds
        The searched epochs, and their folds. Of each alert the fold that leaves least is the first period.
    """
    values = np.zeros((len(folds.best), len(COLUMNS)))
    for part in epochs.parts():
        alert, n = int(epochs.row[part.start]), part.stop - part.start
        first = int(folds.best[alert])
        if n < MIN_EPOCHS or first < 0:
            continue
        left, error = folds.left_over[part], epochs.error[part]
        peaks = periodogram_peaks(epochs.age_day[part], left, error)
        if peaks is None:
            continue
        power = float(peaks.power[0])
        runner_up = float(peaks.power[1]) if len(peaks.power) > 1 else 0.0
        frequency = float(peaks.frequency_per_day[0])
        ratio = np.log10(frequency / float(folds.frequency_per_day[first]))
        values[alert] = (
            1.0,
            power,
            power - runner_up,
            # Twice the gain in log likelihood over noise, as for a sinusoid of three free parameters.
            np.log10(max(-(n - 3) * np.log1p(-min(power, 1 - 1e-9)), 1e-2)),
            np.log10(max(frequency, 1e-4)),
            np.clip(ratio, -RATIO_MAX, RATIO_MAX),
            np.log10(max(float(np.mean((left / error) ** 2)), 1e-3)),
            np.log10(max(float(folds.left[first, 0]), 1e-4)),
        )
    return values
