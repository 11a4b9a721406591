# SPDX-License-Identifier: BSD-3-Clause
"""A second period: the periodogram of what the best fold of a light curve leaves over.

Stars that pulsate in two modes, binaries with a pulsating member and blends of two variables have one; a star
of a single period leaves noise. Prewhitening is the usual way to find it (e.g. Lenz & Breger 2005).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.folding import Folds
from broker_plugin.features.lomb_scargle import strongest_peaks
from broker_plugin.features.period import GRID
from broker_plugin.features.searched import Searched

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
    alerts, starts, stops = epochs.parts()
    wanted = (stops - starts >= MIN_EPOCHS) & (folds.best[alerts] >= 0)
    alerts, starts, stops = alerts[wanted], starts[wanted], stops[wanted]
    left = replace(epochs, deviation=folds.left_over)
    peaks = strongest_peaks(left.curves(starts, stops), GRID)
    power, frequency = peaks.power[:, 0], peaks.frequency_per_day[:, 0]
    n = stops - starts
    first = folds.best[alerts]
    chi_square = np.bincount(epochs.row, (folds.left_over / epochs.error) ** 2, len(values))[alerts] / n
    found = np.stack(
        [
            np.ones(len(alerts)),
            power,
            power - peaks.power[:, 1],
            # Twice the gain in log likelihood over noise, as for a sinusoid of three free parameters.
            np.log10(np.maximum(-(n - 3) * np.log1p(-np.minimum(power, 1 - 1e-9)), 1e-2)),
            np.log10(np.maximum(frequency, 1e-4)),
            np.clip(
                np.log10(np.maximum(frequency, 1e-4) / folds.frequency_per_day[first]), -RATIO_MAX, RATIO_MAX
            ),
            np.log10(np.maximum(chi_square, 1e-3)),
            np.log10(np.maximum(folds.left[first, 0], 1e-4)),
        ],
        axis=1,
    )
    is_found = power > 0
    values[alerts[is_found]] = found[is_found]
    return values
