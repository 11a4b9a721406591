# SPDX-License-Identifier: BSD-3-Clause
"""Time scales, by the IAU's SOFA routines (ERFA): MJD in TAI inside, ISO 8601 in UTC for people.

The plain ufuncs are called: they return a status, where the wrappers would warn of dates whose leap seconds
are not announced yet.
"""

from __future__ import annotations

import erfa
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MJD_MAX",
    "MJD_MIN",
    "MJD_ZERO",
    "SECONDS_PER_DAY",
    "possible_mjd",
    "tai_mjd_of_utc_jd",
    "utc_iso",
]

SECONDS_PER_DAY = 86400.0
MJD_ZERO = 2_400_000.5
"""Julian Date of MJD 0."""

ISO_UTC = "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ"

MJD_MIN = 47892.0
"""1990-01-01, before any survey here. An earlier time is an error, and one such epoch would make a period
search, which sizes its grid by the time span, ask for all of the machine's memory."""

MJD_MAX = 88069.0
"""2100-01-01; see `MJD_MIN`."""


def tai_mjd_of_utc_jd(jd_utc: NDArray[np.float64], delay_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the MJD in TAI of Julian Dates in UTC plus a delay, leap seconds included; NaN stays NaN.

    Parameters
    ----------
    jd_utc
        Julian Dates in UTC, shape (T,).
    delay_s
        Seconds to add, such as half an exposure, shape (T,).

    Examples
    --------
    >>> mjd = tai_mjd_of_utc_jd(np.array([2458451.5]), np.array([0.0]))
    >>> round(float((mjd[0] - 58451.0) * 86400), 3)  # TAI - UTC was 37 s in 2018
    37.0
    """
    possible = possible_mjd(jd_utc - MJD_ZERO)
    safe = np.where(possible, jd_utc, MJD_ZERO + MJD_MIN)
    day = np.floor(safe)
    tai_1, tai_2, _ = erfa.ufunc.utctai(day, safe - day)
    mjd = (tai_1 - MJD_ZERO) + tai_2 + delay_s / SECONDS_PER_DAY
    return np.where(possible, mjd, np.nan)


def possible_mjd(mjd: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where a date is between 1990 and 2100."""
    return (mjd >= MJD_MIN) & (mjd <= MJD_MAX)


def utc_iso(mjd_tai: NDArray[np.float64]) -> list[str]:
    """Return TAI times (MJD) as ISO 8601 strings in UTC, to the millisecond.

    Examples
    --------
    >>> utc_iso(np.array([60000.0]))
    ['2023-02-24T23:59:23.000Z']
    """
    days, fraction, _ = erfa.ufunc.taiutc(np.full(mjd_tai.shape, MJD_ZERO), mjd_tai)
    year, month, day, clock, _ = erfa.ufunc.d2dtf("UTC", 3, days, fraction)
    parts = (year, month, day, *(clock[name] for name in ("h", "m", "s", "f")))
    return [ISO_UTC % row for row in zip(*(part.tolist() for part in parts), strict=True)]
