# SPDX-License-Identifier: BSD-3-Clause
"""A grid on the sky, so that what is near a position is under a few known keys.

The sky is cut into zones of equal declination and each zone into cells of about the same width. A small
circle then touches one cell, at times two or four, and at a pole a ring of them.
"""

from __future__ import annotations

import math

__all__ = ["CELL_ARCSEC", "cell_of", "cells_near", "separation_arcsec"]

CELL_ARCSEC = 20.0
"""Height and least width of a cell. Smaller, and a circle of some arcsec touches four of them more often;
larger, and every look-up in the Milky Way brings hundreds of neighbours that are not wanted."""

ZONES = round(180 * 3600 / CELL_ARCSEC)


def cell_of(ra_deg: float, dec_deg: float) -> str:
    """Return the name of the cell that a position lies in.

    Examples
    --------
    >>> cell_of(0.001, -90.0), cell_of(360.0, 10.0) == cell_of(0.0, 10.0)
    ('0.0', True)
    """
    zone = _zone_of(dec_deg)
    return f"{zone}.{_column_of(ra_deg % 360.0, zone)}"


def cells_near(ra_deg: float, dec_deg: float, radius_arcsec: float) -> list[str]:
    """Return the names of all cells that a circle may touch.

    Examples
    --------
    >>> len(cells_near(10.001, 20.001, 1.5))
    1
    """
    radius_deg = radius_arcsec / 3600.0
    south, north = max(dec_deg - radius_deg, -90.0), min(dec_deg + radius_deg, 90.0)
    half_width_deg = _half_width_deg(dec_deg, radius_deg)
    cells = []
    for zone in range(_zone_of(south), _zone_of(north) + 1):
        n = _n_columns(zone)
        first = math.floor((ra_deg - half_width_deg) / 360.0 * n)
        last = math.floor((ra_deg + half_width_deg) / 360.0 * n)
        columns = range(n) if last - first + 1 >= n else (column % n for column in range(first, last + 1))
        cells += [f"{zone}.{column}" for column in columns]
    return cells


def separation_arcsec(ra_deg: float, dec_deg: float, other_ra_deg: float, other_dec_deg: float) -> float:
    """Return the distance of two positions on the sky.

    Examples
    --------
    >>> round(separation_arcsec(359.9999, 0.0, 0.0001, 0.0), 6)
    0.72
    """
    dec, other_dec = math.radians(dec_deg), math.radians(other_dec_deg)
    d_ra = math.radians(other_ra_deg - ra_deg)
    haversine = math.sin((other_dec - dec) / 2) ** 2
    haversine += math.cos(dec) * math.cos(other_dec) * math.sin(d_ra / 2) ** 2
    return math.degrees(2 * math.asin(math.sqrt(min(1.0, haversine)))) * 3600.0


def _half_width_deg(dec_deg: float, radius_deg: float) -> float:
    """Return how far a circle reaches in right ascension: everywhere, if a pole is in it."""
    if abs(dec_deg) + radius_deg >= 90.0:
        return 180.0
    # A little more than it takes, so that rounding loses nothing.
    reach = math.sin(math.radians(radius_deg)) / math.cos(math.radians(dec_deg))
    return math.degrees(math.asin(min(1.0, reach))) * (1 + 1e-9) + 1e-9


def _zone_of(dec_deg: float) -> int:
    return min(max(int((dec_deg + 90.0) / 180.0 * ZONES), 0), ZONES - 1)


def _n_columns(zone: int) -> int:
    south = zone / ZONES * 180.0 - 90.0
    north = (zone + 1) / ZONES * 180.0 - 90.0
    narrowest = min(math.cos(math.radians(south)), math.cos(math.radians(north)))
    return max(1, int(360.0 * 3600.0 * max(narrowest, 0.0) / CELL_ARCSEC))


def _column_of(ra_deg: float, zone: int) -> int:
    n = _n_columns(zone)
    return math.floor(ra_deg / 360.0 * n) % n
