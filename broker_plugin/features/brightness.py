# SPDX-License-Identifier: BSD-3-Clause
"""Fluxes as deviations that can be compared between bands and between stars.

Apparent flux becomes a magnitude, in which a star's variation is the same at any distance. The magnitude is
the inverse hyperbolic sine of Lupton et al. (1999, AJ 118, 1406), which is finite for fluxes at and below
zero. Difference flux has no level to be compared with and stays linear. Fainter is larger in both.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.ragged import band_groups, segment_median
from broker_plugin.records import LightCurve

__all__ = ["FLUX_FLOOR_NJY", "MAD_TO_SIGMA", "faintness", "standardised"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAD_TO_SIGMA = 1.4826
"""Standard deviation over median absolute deviation of a normal distribution."""

FLUX_FLOOR_NJY = 1e-3
"""Least error of a flux, far below the noise of any survey (LSST: 100 nJy); keeps ratios finite."""

ERROR_FLOOR = 0.1
"""Least error, in units of a band's scatter: a few epochs with tiny errors would else carry all weight."""

CLIP = 20.0
"""Largest deviation that counts, in units of a band's scatter, so that one wild epoch is not a period."""

MAG_PER_UNIT = 2.5 / math.log(10)
"""Magnitudes in a factor e of flux."""


def faintness(epochs: LightCurve, group: IntArray, n_groups: int) -> tuple[FloatArray, FloatArray]:
    """Return how faint each epoch is and the error of that: magnitudes, or nJy for difference flux.

    Parameters
    ----------
    group
        Band group of each epoch, of `n_groups`; its median error softens the magnitude.
    """
    flux = epochs.flux_njy.astype(np.float64)
    error = np.maximum(np.abs(epochs.flux_err_njy.astype(np.float64)), FLUX_FLOOR_NJY)
    softening = 2.0 * segment_median(error, group, n_groups)[group]
    magnitude = -MAG_PER_UNIT * np.arcsinh(flux / softening)
    return (
        np.where(epochs.apparent, magnitude, -flux),
        np.where(epochs.apparent, MAG_PER_UNIT * error / np.hypot(flux, softening), error),
    )


def standardised(epochs: LightCurve, row: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return deviations from each band's median and their errors, in units of the band's scatter.

    Parameters
    ----------
    row
        Which alert each epoch belongs to.
    """
    group, group_row = band_groups(row, epochs.band, epochs.apparent)
    n_groups = len(group_row)
    faint, error = faintness(epochs, group, n_groups)
    deviation = faint - segment_median(faint, group, n_groups)[group]
    scatter = MAD_TO_SIGMA * segment_median(np.abs(deviation), group, n_groups)
    scale = np.maximum(scatter, segment_median(error, group, n_groups))[group]
    scale = np.where(scale > 0, scale, 1.0)
    return (
        np.clip(deviation / scale, -CLIP, CLIP),
        np.clip(np.hypot(error / scale, ERROR_FLOOR), ERROR_FLOOR, CLIP),
    )
