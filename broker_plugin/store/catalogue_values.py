# SPDX-License-Identifier: BSD-3-Clause
"""What a catalogue's number can be.

Catalogues write that they know nothing as a number too: -999, 99.99, 0 for a period. Those and a column in
another unit are told from values by the range that each of our columns has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["RANGES", "Range", "is_possible"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers that a column may hold, both ends among them.

    Examples
    --------
    >>> str(Range(low=-2.0, high=40.0))
    '-2 to 40'
    """

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


MAG = Range(low=-2.0, high=40.0)
"""Sirius has -1.5, and no survey sees 40: the nulls 99, 99.99, -99 and -999 are outside."""

SHARE = Range(low=0.0, high=1.0)
"""Scores between no and yes. One in percent would be taken for certain."""

DISTANCE_ARCSEC = Range(low=0.0, high=3600.0)
"""A neighbour that is farther than a degree is none; nor is one at -999."""

RANGES: Mapping[str, Range] = MappingProxyType(
    {
        "gal_lon_deg": Range(low=-180.0, high=360.0),  # counted from 0 or around it
        "gal_lat_deg": Range(low=-90.0, high=90.0),
        "reference_mag": MAG,
        "reference_distance_arcsec": DISTANCE_ARCSEC,
        "star_galaxy_score": SHARE,
        "reliability": SHARE,
        "ps1_g_mag": MAG,
        "ps1_r_mag": MAG,
        "ps1_i_mag": MAG,
        "ps1_z_mag": MAG,
        "solar_system_distance_arcsec": DISTANCE_ARCSEC,
        # No shorter one is folded with, and of a longer one the search's window of 3,000 d holds no cycle.
        "catalogue_period_day": Range(low=1e-4, high=3000.0),
    }
)
"""By column of `records.METADATA_COLUMNS`."""

NULLS: Mapping[str, frozenset[float]] = MappingProxyType(
    {"catalogue_period_day": frozenset({99.99, 99.999, 999.9, 999.99})}
)
"""Numbers in range by which catalogues say that they know nothing. A star of such a period is left without
it; a whole number may be a period that was rounded."""


def is_possible(column: str, value: float) -> bool:
    """Tell whether a number can be a value of one of our columns.

    Examples
    --------
    >>> [is_possible("reference_mag", value) for value in (17.5, 99.99, -999.0)]
    [True, False, False]
    >>> [is_possible("catalogue_period_day", value) for value in (0.57, 0.0, -5.0, 99.99, 1e30)]
    [True, False, False, False, False]
    """
    limits = RANGES.get(column)
    if limits is None:  # of a later version that shares the store
        return True
    # Rounded, for a file of single precision holds 99.98999786.
    return limits.low <= value <= limits.high and round(value, 4) not in NULLS.get(column, ())
