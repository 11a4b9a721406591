# SPDX-License-Identifier: BSD-3-Clause
"""What is in force follows from the promotions and the clock alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.errors import BundleError
from broker_plugin.nights import SITES, next_noon
from broker_plugin.repository.promotions import (
    Promotion,
    in_force,
    promotions_text,
    read_promotions,
    standing_promotions,
)

MORNING = datetime(2026, 11, 28, 15, tzinfo=UTC)
"""Before noon at either telescope."""

NOON = next_noon("ztf", MORNING)


def promotion(
    version: str,
    at: datetime = MORNING,
    *,
    at_noon: bool = True,
    action: Literal["promote", "rollback"] = "promote",
) -> Promotion:
    return Promotion(
        number=1, version=version, digest="0" * 64, action=action, at=at, by="a@b", at_noon=at_noon
    )


def version_at(promotions: list[Promotion], when: datetime) -> str | None:
    holding = in_force(promotions, "ztf", when)
    return None if holding is None else holding.version


def standing(promotions: list[Promotion], *, installed: bool = True) -> str:
    return "".join(each.version for each in standing_promotions(promotions, installed=installed))


def test_a_promotion_waits_for_the_surveys_noon() -> None:
    made = [promotion("1", MORNING - timedelta(days=2)), promotion("2")]
    assert version_at(made, NOON - timedelta(seconds=1)) == "1"
    assert version_at(made, NOON) == "2"
    assert made[1].takes_effect("lsst") < made[1].takes_effect("ztf") == made[1].takes_effect(None)


def test_one_that_is_made_at_once_takes_the_place_of_one_that_waits() -> None:
    back = promotion("1", MORNING + timedelta(hours=1), at_noon=False, action="rollback")
    assert version_at([promotion("2"), back], MORNING + timedelta(hours=2)) == "1"
    assert version_at([promotion("2"), back], NOON + timedelta(days=9)) == "1"


def test_two_rollbacks_go_back_two_promotions() -> None:
    made = [promotion(version, MORNING + timedelta(days=day)) for day, version in enumerate("123")]
    assert standing(made) == "123"
    made.append(promotion("2", MORNING + timedelta(days=4), action="rollback"))
    assert standing(made) == "12"
    made.append(promotion("1", MORNING + timedelta(days=5), action="rollback"))
    assert standing(made) == "1"
    made.append(promotion("4", MORNING + timedelta(days=6)))
    assert standing(made) == "14"


def test_a_promotion_that_never_took_effect_is_none_to_go_back_to() -> None:
    later = MORNING + timedelta(hours=1)
    made = [promotion("1", at_noon=False), promotion("2"), promotion("3", later, at_noon=False)]
    assert standing(made) == standing(made, installed=False) == "13"
    assert standing([promotion("1"), promotion("2"), promotion("3")]) == "3"  # all at the same noon
    # Without an installed bundle the first one is what there is, and need not wait.
    assert standing([promotion("1"), promotion("2"), promotion("3")], installed=False) == "13"


def test_a_promotion_that_held_for_one_survey_was_in_force() -> None:
    between = next_noon("lsst", MORNING) + timedelta(minutes=1)
    assert next_noon("lsst", MORNING) < between < NOON
    assert standing([promotion("1"), promotion("2", between, at_noon=False)]) == "12"


def test_a_rollback_takes_back_what_waits_and_one_that_waited_in_vain_took_nothing_back() -> None:
    later = MORNING + timedelta(hours=1)
    waits = [promotion("1", at_noon=False), promotion("2")]
    assert standing([*waits, promotion("1", later, at_noon=False, action="rollback")]) == "1"
    both = [promotion("1", MORNING - timedelta(days=1), at_noon=False), promotion("2", at_noon=False)]
    in_vain = [*both, promotion("1", action="rollback"), promotion("3", later, at_noon=False)]
    assert standing(in_vain) == "123"


hours = st.integers(0, 24 * 20).map(lambda hour: MORNING + timedelta(hours=hour))


@given(st.lists(st.tuples(hours, st.booleans()), min_size=1, max_size=8), hours)
def test_in_the_end_the_last_promotion_holds_and_none_before_its_time(
    made: list[tuple[datetime, bool]], when: datetime
) -> None:
    in_time = sorted(made, key=lambda each: each[0])
    promotions = [promotion(str(n), at, at_noon=noon) for n, (at, noon) in enumerate(in_time)]
    for survey in SITES:
        holding = in_force(promotions, survey, when)
        assert holding is None or holding.takes_effect(survey) <= when
        assert in_force(promotions, survey, MORNING + timedelta(days=40)) is promotions[-1]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    made = [promotion("1"), promotion("2", at_noon=False, action="rollback")]
    path = tmp_path / "current.json"
    assert read_promotions(path) == ()
    path.write_bytes(promotions_text(made))
    assert read_promotions(path) == tuple(made)


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": 2, "promotions": []}', b"\x80\x04", b"[]"])
def test_a_spoilt_file_is_refused_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "current.json").write_bytes(content)
    with pytest.raises(BundleError, match="promote again"):
        read_promotions(tmp_path / "current.json")
