# SPDX-License-Identifier: BSD-3-Clause
"""Positions on the sky."""

from __future__ import annotations

import math

import erfa
import numpy as np
from numpy.typing import NDArray

__all__ = ["galactic_deg", "separation_arcsec", "unit_vectors"]

ARCSEC_PER_RADIAN = math.degrees(1.0) * 3600.0


def galactic_deg(
    ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return galactic longitudes (0 to 360) and latitudes of ICRS positions, in degrees.

    Examples
    --------
    >>> longitude, latitude = galactic_deg(np.array([83.633]), np.array([22.014]))  # the Crab nebula
    >>> round(float(longitude[0]), 2), round(float(latitude[0]), 2)
    (184.56, -5.78)
    """
    longitude, latitude = erfa.icrs2g(np.radians(ra_deg), np.radians(dec_deg))
    return np.degrees(longitude) % 360.0, np.degrees(latitude)


def separation_arcsec(
    ra_deg: NDArray[np.float64],
    dec_deg: NDArray[np.float64],
    *,
    centre: tuple[NDArray[np.float64] | np.float64, NDArray[np.float64] | np.float64],
) -> NDArray[np.float64]:
    """Return the angular distances from positions, in arcsec; NaN where a position is missing.

    By haversines, which are exact for small distances and right to 0.01 arcsec for opposite positions.
    """
    ra, dec, ra_0, dec_0 = (np.radians(each) for each in (ra_deg, dec_deg, *centre))
    across, along = np.sin(0.5 * (ra - ra_0)), np.sin(0.5 * (dec - dec_0))
    square = along * along + np.cos(dec) * np.cos(dec_0) * across * across
    return np.asarray(2.0 * ARCSEC_PER_RADIAN * np.arcsin(np.sqrt(np.minimum(square, 1.0))))


def unit_vectors(ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return positions as unit vectors, shape (N, 3).

    Examples
    --------
    >>> unit_vectors(np.array([0.0, 90.0, 0.0]), np.array([0.0, 0.0, 90.0])).round(12).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)
