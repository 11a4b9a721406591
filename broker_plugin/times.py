# SPDX-License-Identifier: BSD-3-Clause
"""Time scales, by the IAU's SOFA routines (ERFA)."""

from __future__ import annotations

import erfa
import numpy as np
from numpy.typing import NDArray

__all__ = ["MJD_ZERO", "utc_iso"]

MJD_ZERO = 2_400_000.5
"""Julian date of MJD 0."""


def utc_iso(mjd_tai: NDArray[np.float64]) -> list[str]:
    """Return TAI times (MJD) as ISO 8601 strings in UTC, to the millisecond.

    Examples
    --------
    >>> utc_iso(np.array([60000.0]))
    ['2023-02-24T23:59:23.000Z']
    """
    days, fraction = erfa.taiutc(np.full(mjd_tai.shape, MJD_ZERO), mjd_tai)
    year, month, day, clock = erfa.d2dtf("UTC", 3, days, fraction)
    return [
        f"{y:04d}-{m:02d}-{d:02d}T{t['h']:02d}:{t['m']:02d}:{t['s']:02d}.{t['f']:03d}Z"
        for y, m, d, t in zip(year, month, day, clock, strict=True)
    ]
