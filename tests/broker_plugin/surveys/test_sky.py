# SPDX-License-Identifier: BSD-3-Clause
"""Angular distances against those of ERFA."""

from __future__ import annotations

import erfa
import numpy as np

from broker_plugin.surveys.sky import ARCSEC_PER_RADIAN, separation_arcsec, unit_vectors


def test_separations_are_erfas_near_and_far_and_at_the_poles(rng: np.random.Generator) -> None:
    n = 2000
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    dec[:4], ra[4:8] = [90, -90, 89.9999, -89.9999], [0, 360, 359.99999, 1e-5]
    for away in (1e-7, 1e-4, 1.0, 60.0):
        other_ra, other_dec = ra + rng.normal(0, away, n), np.clip(dec + rng.normal(0, away, n), -90, 90)
        expected = np.degrees(erfa.seps(*map(np.radians, (ra, dec, other_ra, other_dec)))) * 3600
        found = separation_arcsec(ra, dec, centre=(other_ra, other_dec))
        # An angle of 360 degrees has 5e-14 of rounding: 2e-10 arcsec.
        assert np.abs(found - expected).max() < 1e-9 + 1e-12 * expected.max()


def test_opposite_positions_are_half_a_turn_apart() -> None:
    centre = np.array([0.0, 0.0, 180.0]), np.array([90.0, 0.0, 0.0])
    assert np.allclose(
        separation_arcsec(np.array([0.0, 180.0, 0.0]), np.array([-90.0, 0.0, 0.0]), centre=centre), 648_000
    )
    assert np.isnan(separation_arcsec(np.array([np.nan]), np.zeros(1), centre=(np.zeros(1), np.zeros(1))))


def test_the_chord_between_unit_vectors_is_that_of_their_separation(rng: np.random.Generator) -> None:
    ra, dec = rng.uniform(0, 360, 500), np.degrees(np.arcsin(rng.uniform(-1, 1, 500)))
    other = np.roll(ra, 1), np.roll(dec, 1)
    chord = np.linalg.norm(unit_vectors(ra, dec) - unit_vectors(*other), axis=1)
    angle = separation_arcsec(ra, dec, centre=other) / ARCSEC_PER_RADIAN
    np.testing.assert_allclose(chord, 2 * np.sin(angle / 2), rtol=0, atol=1e-14)  # rounding of coordinates
