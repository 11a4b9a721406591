# SPDX-License-Identifier: BSD-3-Clause
"""Nights tile time: each moment is in one, which lasts a day and begins in daylight."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.nights import SITES, last_noon, next_noon, night_of
from broker_plugin.surveys.registry import SURVEYS

moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
surveys = st.sampled_from(SURVEYS)


def test_every_survey_has_a_site() -> None:
    assert set(SITES) == set(SURVEYS)


@given(survey=surveys, when=moments)
def test_a_moment_lies_between_its_noons(survey: str, when: datetime) -> None:
    begin, end = last_noon(survey, when), next_noon(survey, when)
    assert begin <= when < end
    assert end - begin == timedelta(days=1)


@given(survey=surveys, when=moments, hours=st.integers(-12, 14))
def test_the_clock_that_tells_the_moment_does_not_matter(survey: str, when: datetime, hours: int) -> None:
    elsewhere = when.astimezone(timezone(timedelta(hours=hours)))
    assert night_of(survey, elsewhere) == night_of(survey, when)


@given(survey=surveys, when=moments)
def test_noon_belongs_to_the_night_that_begins(survey: str, when: datetime) -> None:
    noon = next_noon(survey, when)
    assert night_of(survey, noon) == night_of(survey, when) + timedelta(days=1)
    assert night_of(survey, noon - timedelta(microseconds=1)) == night_of(survey, when)


@pytest.mark.parametrize(
    ("survey", "dusk", "dawn"),
    [
        # Sunset and sunrise of the longest nights, to a few minutes.
        ("ztf", datetime(2026, 12, 22, 0, 44, tzinfo=UTC), datetime(2026, 12, 22, 14, 48, tzinfo=UTC)),
        ("lsst", datetime(2026, 6, 20, 21, 51, tzinfo=UTC), datetime(2026, 6, 21, 11, 40, tzinfo=UTC)),
    ],
)
def test_no_night_is_cut(survey: str, dusk: datetime, dawn: datetime) -> None:
    assert night_of(survey, dusk) == night_of(survey, dawn)
    evening = (dusk + SITES[survey].utc_offset).date()
    assert night_of(survey, dusk) == evening
