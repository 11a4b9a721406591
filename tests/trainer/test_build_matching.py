# SPDX-License-Identifier: BSD-3-Clause
"""Positions are matched as astropy would, and stars move along great circles."""

from __future__ import annotations

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from numpy.typing import NDArray

from trainer.crossmatch.matching import Places, match_places, moved, pairs_within, separation_arcsec


def places(
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    epoch: float = 2000.0,
    pm: tuple[float, float] | None = None,
) -> Places:
    pm_ra, pm_dec = (np.nan, np.nan) if pm is None else pm
    return Places(
        ra_deg=ra,
        dec_deg=dec,
        epoch_jyear=np.full(len(ra), epoch),
        pm_ra_cosdec_mas_yr=np.full(len(ra), pm_ra),
        pm_dec_mas_yr=np.full(len(ra), pm_dec),
    )


def scattered(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return rng.uniform(0, 360, n), np.rad2deg(np.arcsin(rng.uniform(-1, 1, n)))


def test_without_motion_the_match_is_astropys_nearest(rng: np.random.Generator) -> None:
    radius = 3600.0 * 3
    objects, parts = places(*scattered(rng, 2000)), places(*scattered(rng, 1000), epoch=2015.0)
    found = match_places(objects, parts, radius_arcsec=radius)
    there = SkyCoord(objects.ra_deg * u.deg, objects.dec_deg * u.deg)
    here = SkyCoord(parts.ra_deg * u.deg, parts.dec_deg * u.deg)
    nearest, separation, _ = here.match_to_catalog_sky(there)
    expected = np.where(separation.arcsec <= radius, nearest, -1)
    np.testing.assert_array_equal(found.object_of, expected)
    matched = expected >= 0
    assert 0 < matched.sum() < len(parts)
    # Two formulas for one angle of up to three degrees, in double precision.
    np.testing.assert_allclose(found.separation_arcsec[matched], separation.arcsec[matched], rtol=1e-9)
    within, *_ = there.search_around_sky(here, radius * u.arcsec)
    np.testing.assert_array_equal(found.candidates, np.bincount(within, minlength=len(parts)))


@pytest.mark.parametrize("dec", [-89.9, -45.0, 0.0, 80.0])
def test_stars_move_as_far_as_their_motion_says_in_its_direction(dec: float) -> None:
    start = places(np.array([359.9999]), np.array([dec]), pm=(1000.0, -500.0))
    end = moved(start, np.array([2020.0]))
    # 20 years of sqrt(1.25) arcsec; the foreshortening of 22 arcsec is below 1e-7.
    assert separation_arcsec(start, end)[0] == pytest.approx(20 * np.sqrt(1.25), rel=1e-6)
    angle = SkyCoord(start.ra_deg * u.deg, start.dec_deg * u.deg).position_angle(
        SkyCoord(end.ra_deg * u.deg, end.dec_deg * u.deg)
    )
    # The direction in which a great circle starts; rounding of positions is 1e-9 of the way.
    assert angle.deg[0] == pytest.approx(np.rad2deg(np.arctan2(1000, -500)), abs=1e-3)
    # Back with the same components: north has turned by the meridians' convergence on the way, and no more.
    back = moved(end, np.array([2000.0]))
    turned = np.deg2rad(20 / 3600) * abs(np.tan(np.deg2rad(dec)))
    assert separation_arcsec(start, back)[0] < 1.1 * 20 * np.sqrt(1.25) * turned + 1e-5


def test_what_has_no_motion_stays(rng: np.random.Generator) -> None:
    start = places(*scattered(rng, 5))
    end = moved(start, np.full(5, 2020.0))
    np.testing.assert_array_equal(start.ra_deg, end.ra_deg)


def test_a_known_motion_on_either_side_brings_the_two_together() -> None:
    moving = places(np.array([10.0]), np.array([20.0]), pm=(0.0, 1000.0))
    later = places(np.array([10.0]), np.array([20.0 + 20 / 3600]), epoch=2020.0)
    assert match_places(moving, later, radius_arcsec=1).object_of == [0]
    known_there = replace(later, pm_ra_cosdec_mas_yr=np.zeros(1), pm_dec_mas_yr=np.full(1, 1000.0))
    still = replace(moving, pm_ra_cosdec_mas_yr=np.full(1, np.nan))
    assert match_places(still, known_there, radius_arcsec=1).object_of == [0]
    assert match_places(still, later, radius_arcsec=1).object_of == [-1]
    # Where it was is empty now.
    here = places(np.array([10.0]), np.array([20.0]), epoch=2020.0)
    assert match_places(moving, here, radius_arcsec=1).object_of == [-1]


def test_nothing_matches_nothing() -> None:
    none, one = places(np.zeros(0), np.zeros(0)), places(np.zeros(1), np.zeros(1))
    assert match_places(none, one, radius_arcsec=1).object_of == [-1]
    assert len(match_places(one, none, radius_arcsec=1).object_of) == 0
    assert len(pairs_within(none, 1.0)[0]) == 0


def test_pairs_are_found_over_the_seam_and_at_the_pole() -> None:
    here = places(np.array([0.0, 359.9999, 10.0, 190.0]), np.array([0.0, 0.0, 89.9999, 89.9999]))
    one, other = pairs_within(here, 1.0)
    assert list(zip(one, other, strict=True)) == [(0, 1), (2, 3)]
