# SPDX-License-Identifier: BSD-3-Clause
"""Fluxes as deviations that can be compared between bands and between stars.

Apparent flux becomes a magnitude, in which a star's variation is the same at any distance. The magnitude is
the inverse hyperbolic sine of Lupton et al. (1999, AJ 118, 1406), which is finite for fluxes at and below
zero. Difference flux has no level to be compared with and stays linear. Fainter is larger in both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.arrays import plain
from broker_plugin.records import AlertBatch

__all__ = ["FLUX_FLOOR_NJY", "MAD_TO_SIGMA", "Deviations", "deviations"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAD_TO_SIGMA = 1.4826
"""Standard deviation over median absolute deviation of a normal distribution."""

FLUX_FLOOR_NJY = 1e-3
"""Least error of a flux, far below the noise of any survey (LSST: 100 nJy); keeps ratios finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviations:
    """Columns over all epochs of a batch (N,), but for the last two.

    Parameters
    ----------
    deviation, error
        Magnitudes from the band's median and their error, or difference flux in units of the alert's typical
        one: its zero is the reference image, which says more than the median of a few detections.
    group
        Number of the epoch's band and kind of flux within its alert.
    size, spread
        Median of the absolute deviations, and of the errors, of each alert (B,); 0 for one without epochs.
    """

    deviation: FloatArray
    error: FloatArray
    group: IntArray
    size: FloatArray
    spread: FloatArray


def deviations(batch: AlertBatch) -> Deviations:
    """Return how far each epoch is from the median of its band."""
    from broker_plugin.features.epoch_kernels import deviate  # compiles, and takes a second

    n = len(batch.epochs)
    found = Deviations(
        deviation=np.empty(n),
        error=np.empty(n),
        group=np.empty(n, np.int64),
        size=np.zeros(len(batch)),
        spread=np.zeros(len(batch)),
    )
    epochs = batch.epochs
    deviate(
        plain(batch.offsets),
        plain(epochs.flux_njy),
        plain(epochs.flux_err_njy),
        plain(epochs.band),
        plain(epochs.apparent),
        FLUX_FLOOR_NJY,
        found.deviation,
        found.error,
        found.group,
        found.size,
        found.spread,
    )
    return found
