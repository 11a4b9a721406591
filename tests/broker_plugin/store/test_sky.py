# SPDX-License-Identifier: BSD-3-Clause
"""No neighbour is missed, wherever on the sky, and few cells are looked at."""

from __future__ import annotations

import math

from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker_plugin.store.sky import cell_of, cells_near, separation_arcsec

RA = st.floats(0.0, 360.0)
DEC = st.one_of(st.floats(-90.0, 90.0), st.floats(89.99, 90.0), st.floats(-90.0, -89.99))


def moved(ra_deg: float, dec_deg: float, distance_arcsec: float, bearing: float) -> tuple[float, float]:
    """Return the position at a distance in a direction, by spherical trigonometry."""
    dec, step = math.radians(dec_deg), math.radians(distance_arcsec / 3600)
    sine = math.sin(dec) * math.cos(step) + math.cos(dec) * math.sin(step) * math.cos(bearing)
    new_dec = math.asin(max(-1.0, min(1.0, sine)))
    east = math.sin(bearing) * math.sin(step) * math.cos(dec)
    north = math.cos(step) - math.sin(dec) * sine
    return (ra_deg + math.degrees(math.atan2(east, north))) % 360.0, math.degrees(new_dec)


@settings(max_examples=500)
@given(RA, DEC, st.floats(0.1, 60.0), st.floats(0.0, 0.999), st.floats(0.0, 2 * math.pi))
@example(0.0, 90.0, 1.5, 0.9, 1.0)
@example(360.0, -90.0, 60.0, 0.9, 4.0)
@example(359.99999, 0.0, 1.5, 0.99, math.pi / 2)
def test_whatever_lies_in_the_circle_lies_in_one_of_the_cells(
    ra_deg: float, dec_deg: float, radius_arcsec: float, share: float, bearing: float
) -> None:
    other = moved(ra_deg, dec_deg, share * radius_arcsec, bearing)
    # Near a pole a position is a difference of large numbers: good to some 1e-3 arcsec.
    if separation_arcsec(ra_deg, dec_deg, *other) <= radius_arcsec * 0.9999:
        assert cell_of(*other) in cells_near(ra_deg, dec_deg, radius_arcsec)


@given(RA, st.floats(-80.0, 80.0))
def test_a_small_circle_touches_four_cells_at_most(ra_deg: float, dec_deg: float) -> None:
    cells = cells_near(ra_deg, dec_deg, 1.5)
    assert 1 <= len(cells) <= 4
    assert len(set(cells)) == len(cells)


@given(RA, DEC, st.floats(0.0, 3600.0), st.floats(0.0, 2 * math.pi))
def test_distances_are_those_of_the_sphere(
    ra_deg: float, dec_deg: float, distance_arcsec: float, bearing: float
) -> None:
    found = separation_arcsec(ra_deg, dec_deg, *moved(ra_deg, dec_deg, distance_arcsec, bearing))
    # An arc sine near a pole keeps half of the digits: 1e-8 of a radian is 2e-3 arcsec.
    assert math.isclose(found, distance_arcsec, abs_tol=0.01)
