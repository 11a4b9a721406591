# SPDX-License-Identifier: BSD-3-Clause
"""A selection is what its conditions say, and a ranking is a sorted night."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.codec.verdict import Verdict
from broker_plugin.pipeline.filter import AlertFilter
from broker_plugin.pipeline.selection import Ranking, Selection, last_noon
from broker_plugin.streams.base import Message
from broker_plugin.taxonomy import CLASSES

NIGHT = datetime(2026, 3, 1, 23, 0, tzinfo=UTC)


@pytest.fixture
def verdicts(alert_filter: AlertFilter, messages: list[Message]) -> list[Verdict]:
    judged = [v for j in alert_filter.judge(messages) for v in j.verdicts]
    return [dataclasses.replace(v, emitted_at=NIGHT) for v in judged]


def stellar(verdict: Verdict, **probabilities: float) -> Verdict:
    top = max(probabilities, key=probabilities.__getitem__)
    return dataclasses.replace(
        verdict,
        class_applies=True,
        class_probabilities=probabilities,
        top_class=top,
        top_class_probability=probabilities[top],
    )


def test_no_condition_accepts_everything(verdicts: list[Verdict]) -> None:
    assert all(Selection().accepts(verdict) for verdict in verdicts)


@pytest.mark.parametrize(
    ("classes", "min_probability", "accepted"),
    [
        (("RRAB",), None, True),
        (("rrab",), None, True),
        (("RRab",), None, True),  # a catalogue's spelling
        (("pulsating",), None, True),
        (("EW",), None, False),
        (("EW", "RRAB"), None, True),
        (("EW",), 0.3, True),
        (("EW",), 0.31, False),
        (("RRAB",), 0.7, True),
        (("RRAB",), 0.71, False),
        ((), 0.7, True),
        ((), 0.71, False),
        (("eclipsing",), 0.3, True),
        (("nonsense",), 0.0, False),
    ],
)
def test_classes_and_probabilities(
    verdicts: list[Verdict], classes: tuple[str, ...], min_probability: float | None, accepted: bool
) -> None:
    verdict = stellar(verdicts[0], RRAB=0.7, EW=0.3)
    selection = Selection(classes=classes, min_probability=min_probability)
    assert selection.accepts(verdict) is accepted
    # What the classes do not describe is a candidate for none of them.
    assert not selection.accepts(dataclasses.replace(verdict, class_applies=False, top_class=None))


def test_every_class_is_selected_by_its_name_and_its_synonyms(verdicts: list[Verdict]) -> None:
    for entry in CLASSES:
        verdict = stellar(verdicts[0], **{c.name: float(c is entry) for c in CLASSES})
        for spelling in (entry.name, entry.parent, *entry.synonyms):
            assert Selection(classes=(spelling,)).accepts(verdict), spelling
            assert Selection(classes=(spelling,)).unknown(verdict) == []


def test_the_p_value_limits_all_else(verdicts: list[Verdict]) -> None:
    p_value = verdicts[0].anomaly_p_value
    assert Selection(max_p_value=p_value).accepts(verdicts[0])
    assert not Selection(max_p_value=np.nextafter(p_value, 0)).accepts(verdicts[0])


def test_a_ranking_is_the_head_of_all_sorted_in_any_order(
    verdicts: list[Verdict], rng: np.random.Generator
) -> None:
    expected = sorted(verdicts, key=lambda v: (v.anomaly_p_value, -v.anomaly_score))[:5]
    for _ in range(5):
        ranking = Ranking(5)
        order = [verdicts[i] for i in rng.permutation(len(verdicts))]
        changes = [ranking.add(verdict, NIGHT) for verdict in order + order]
        assert [(v.anomaly_p_value, v.anomaly_score) for v in ranking.verdicts] == [
            (v.anomaly_p_value, v.anomaly_score) for v in expected
        ]
        assert not any(changes[len(order) :])  # a duplicate has the same identity


def test_ties_go_to_the_larger_score(verdicts: list[Verdict]) -> None:
    tied = [dataclasses.replace(v, anomaly_p_value=0.01) for v in verdicts[:10]]
    ranking = Ranking(10)
    for verdict in tied:
        ranking.add(verdict, NIGHT)
    scores = [v.anomaly_score for v in ranking.verdicts]
    assert scores == sorted(scores, reverse=True)


def test_noon_begins_a_new_night_and_yesterday_is_not_in_it(verdicts: list[Verdict]) -> None:
    ranking = Ranking(3)
    assert ranking.add(verdicts[0], NIGHT)
    assert not ranking.add(dataclasses.replace(verdicts[1], emitted_at=NIGHT - timedelta(hours=12)), NIGHT)
    next_day = NIGHT + timedelta(hours=14)
    assert ranking.add(dataclasses.replace(verdicts[2], emitted_at=next_day), next_day)
    assert [v.verdict_id for v in ranking.verdicts] == [verdicts[2].verdict_id]


@given(
    now=st.datetimes(datetime(2000, 1, 1), datetime(2050, 1, 1)),
    offset=st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours))),
)
def test_the_last_noon_is_noon_and_the_last(now: datetime, offset: timezone) -> None:
    local = now.replace(tzinfo=offset)
    noon = last_noon(local)
    assert (noon.hour, noon.minute, noon.second, noon.microsecond) == (12, 0, 0, 0)
    assert timedelta(0) <= local - noon < timedelta(days=1)
