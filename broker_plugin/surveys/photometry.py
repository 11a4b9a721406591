# SPDX-License-Identifier: BSD-3-Clause
"""Magnitudes, counts and fluxes: everything becomes nJy on the AB scale."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AB_ZERO_NJY",
    "FLUX_MAX_NJY",
    "MAG_MAX",
    "MAG_MIN",
    "flux_of_counts",
    "flux_of_mag",
    "known_pair",
    "mag_of_flux",
]

AB_ZERO_NJY = 3631e9
"""Flux of magnitude zero: 3631 Jy, by the definition of the AB system."""

RELATIVE_PER_MAG = math.log(10) / 2.5
"""Relative flux error per magnitude of error, to first order."""

MAG_MIN, MAG_MAX = -5.0, 40.0
"""A magnitude outside is no measurement of the night sky; inside, its flux is a normal float32."""

FLUX_MAX_NJY = 1e15
"""Brighter than magnitude -6, beyond which no survey camera gives a flux; also keeps float32 finite."""


FLUX_ERR_MIN_NJY = 1e-6
"""A smaller error is no error of a measurement; float32 would round the smallest ones to 0."""


def flux_of_mag(
    mag: NDArray[np.float64], mag_err: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return flux and flux error in nJy of AB magnitudes; NaN stays NaN.

    Examples
    --------
    >>> flux, error = flux_of_mag(np.array([31.4]), np.array([0.1]))
    >>> round(float(flux[0]), 3), round(float(error[0]), 4)
    (1.0, 0.0921)
    """
    flux = AB_ZERO_NJY * 10.0 ** (-0.4 * mag)
    return flux, flux * mag_err * RELATIVE_PER_MAG


def flux_of_counts(counts: NDArray[np.float64], zero_point_mag: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the flux in nJy of detector counts whose zero point is an AB magnitude."""
    return counts * AB_ZERO_NJY * 10.0 ** (-0.4 * zero_point_mag)


def mag_of_flux(flux_njy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the AB magnitudes of fluxes, NaN where they are not positive."""
    positive = np.where(flux_njy > 0, flux_njy, np.nan)
    return np.asarray(-2.5 * (np.log10(positive) - math.log10(AB_ZERO_NJY)))


def known_pair(
    flux: NDArray[np.float64], flux_err: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return flux and error where both are usable, NaN in both elsewhere.

    A flux without a positive error cannot be weighed, so it counts as missing.
    """
    known = (np.abs(flux) <= FLUX_MAX_NJY) & (flux_err >= FLUX_ERR_MIN_NJY) & (flux_err <= FLUX_MAX_NJY)
    return np.where(known, flux, np.nan), np.where(known, flux_err, np.nan)
