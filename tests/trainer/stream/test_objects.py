# SPDX-License-Identifier: BSD-3-Clause
"""Nothing of one object or one exposure lies on both sides of a split."""

from __future__ import annotations

import numpy as np
import pytest

from broker_plugin.records import Alert, LightCurve
from trainer.stream.archive import Sighting
from trainer.stream.objects import away_from, deal, linked, one_each


def sighting(
    alert_id: int, name: str, *, exposure: str, ra_deg: float, survey: str = "ztf", dec_deg: float = 10.0
) -> Sighting:
    alert = Alert(
        survey=survey,
        alert_id=alert_id,
        object_id=name,
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        mjd_tai=60_000.0,
        light_curve=LightCurve.empty(),
    )
    return Sighting(alert=alert, exposure=exposure)


ARCHIVE = [
    sighting(1, "a", exposure="first", ra_deg=10.0),
    sighting(2, "a", exposure="second", ra_deg=10.0),  # seen again
    sighting(3, "b", exposure="first", ra_deg=20.0),
    sighting(4, "c", exposure="third", ra_deg=20.001),  # another name, 3.5 arcsec away
    sighting(5, "d", exposure="fourth", ra_deg=30.0),
    sighting(6, "lsst:d", exposure="fifth", ra_deg=30.0, survey="lsst"),
]


def test_an_object_gives_one_alert_a_survey() -> None:
    kept, thing, group = one_each(ARCHIVE, seed=1)
    names = [(each.alert.survey, each.alert.object_id) for each in kept]
    assert len(kept) == 4
    assert {("ztf", "d"), ("lsst", "lsst:d")} <= set(names)
    assert len({("ztf", "b"), ("ztf", "c")} & set(names)) == 1
    same_star = [row for row, name in enumerate(names) if name[1] in ("d", "lsst:d")]
    assert len(set(thing[same_star])) == len(set(group[same_star])) == 1


def test_which_alert_stays_does_not_depend_on_the_order_of_the_archive(rng: np.random.Generator) -> None:
    expected = {each.alert.alert_id for each in one_each(ARCHIVE, seed=3)[0]}
    for _ in range(5):
        shuffled = [ARCHIVE[row] for row in rng.permutation(len(ARCHIVE))]
        assert {each.alert.alert_id for each in one_each(shuffled, seed=3)[0]} == expected
    others = {frozenset(each.alert.alert_id for each in one_each(ARCHIVE, seed=k)[0]) for k in range(20)}
    assert len(others) > 1


def test_rows_are_linked_through_others() -> None:
    assert linked(["x", "y", "z", "w"], ["1", "1", "2", "3"], ["p", "q", "q", "r"]).tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_a_deal_keeps_groups_whole_and_shares_about_right(seed: int, rng: np.random.Generator) -> None:
    group = rng.integers(0, 300, 2000)
    part = deal(group, (0.5, 0.3, 0.2), seed=seed)
    for each in np.unique(group):
        assert len(set(part[group == each])) == 1
    # A share is missed by less than the largest group.
    missed = np.abs(np.bincount(part) - 2000 * np.array([0.5, 0.3, 0.2]))
    assert missed.max() <= np.bincount(group).max()
    assert np.array_equal(part, deal(group, (0.5, 0.3, 0.2), seed=seed))


def test_alerts_of_training_stars_are_left_out() -> None:
    left = away_from(ARCHIVE, np.array([10.0, 30.002]), np.array([10.0, 10.0]))  # 0 and 7 arcsec
    assert [each.alert.alert_id for each in left] == [3, 4]
