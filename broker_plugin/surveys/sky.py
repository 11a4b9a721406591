# SPDX-License-Identifier: BSD-3-Clause
"""Positions on the sky."""

from __future__ import annotations

import math

import erfa
import numpy as np
from numpy.typing import NDArray

__all__ = ["galactic_deg", "separation_arcsec"]

ARCSEC_PER_RADIAN = math.degrees(1.0) * 3600.0


def galactic_deg(ra_deg: float, dec_deg: float) -> tuple[float, float]:
    """Return galactic longitude (0 to 360) and latitude of an ICRS position, in degrees.

    Examples
    --------
    >>> [round(angle, 2) for angle in galactic_deg(83.633, 22.014)]  # the Crab nebula
    [184.56, -5.78]
    """
    longitude, latitude = erfa.icrs2g(math.radians(ra_deg), math.radians(dec_deg))
    return math.degrees(float(longitude)) % 360.0, math.degrees(float(latitude))


def separation_arcsec(
    ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64], *, centre: tuple[float, float]
) -> NDArray[np.float64]:
    """Return the angular distances from a position, in arcsec; NaN where a position is missing."""
    return np.asarray(
        erfa.seps(np.radians(ra_deg), np.radians(dec_deg), math.radians(centre[0]), math.radians(centre[1]))
        * ARCSEC_PER_RADIAN
    )
