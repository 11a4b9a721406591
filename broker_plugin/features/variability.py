# SPDX-License-Identifier: BSD-3-Clause
"""How a light curve varies, in numbers that need no period: spread, skewness, pace within and between nights.

All columns are computed for a whole batch at once. Apparent fluxes are compared in magnitudes, difference
fluxes in units of the alert's typical difference flux; each band is brought to its own median first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from broker_plugin.arrays import plain
from broker_plugin.features.brightness import MAD_TO_SIGMA, deviations
from broker_plugin.records import AlertBatch, Origin

__all__ = ["COLUMNS", "variability"]

FloatArray = NDArray[np.float64]

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
    from broker_plugin.features.variability_kernels import describe  # compiles, and takes a second

    found, epochs = deviations(batch), batch.epochs
    columns = np.zeros((len(batch), len(COLUMNS)))
    describe(
        plain(batch.offsets),
        plain(batch.mjd_tai),
        plain(epochs.mjd_tai),
        found.deviation,
        found.error,
        found.group,
        found.size,
        found.spread,
        plain(epochs.band),
        plain(epochs.apparent),
        epochs.origin == Origin.FORCED,
        np.array(QUANTILES),
        MAD_TO_SIGMA,
        LEAST,
        MAX_AGE_DAY,
        SAME_NIGHT_DAY,
        FASTEST_DAY,
        TREND_EPOCHS,
        BOUND,
        columns,
    )
    return columns
