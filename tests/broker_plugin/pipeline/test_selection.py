# SPDX-License-Identifier: BSD-3-Clause
"""A selection is what its conditions say, and a ranking is a sorted night."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.codec.verdict import Revision, Verdict
from broker_plugin.nights import SITES, last_noon, night_of
from broker_plugin.pipeline.filter import AlertFilter
from broker_plugin.pipeline.selection import PER_OBJECT, Ranking, Selection
from broker_plugin.streams.base import Message
from broker_plugin.taxonomy import CLASSES
from tests.broker_plugin.client.verdicts import a_verdict

NIGHT = datetime(2026, 3, 1, 23, 0, tzinfo=UTC)


@pytest.fixture
def verdicts(alert_filter: AlertFilter, messages: list[Message]) -> list[Verdict]:
    judged = [v for j in alert_filter.judge(messages) for v in j.verdicts]
    return [v._replace(emitted_at=NIGHT) for v in judged]


def stellar(verdict: Verdict, **probabilities: float) -> Verdict:
    top = max(probabilities, key=probabilities.__getitem__)
    return verdict._replace(
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
    assert not selection.accepts(verdict._replace(class_applies=False, top_class=None))


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


@pytest.mark.parametrize(
    ("change", "is_wanted"),
    [(-3.0, True), (-5.5, True), (-2.9, False), (0.0, False), (4.0, False), (None, False)],
)
def test_what_brightened_is_told_from_what_faded(
    verdicts: list[Verdict], change: float | None, is_wanted: bool
) -> None:
    verdict = verdicts[0]._replace(reference_change_mag=change)
    assert Selection(min_brightening_mag=3.0).accepts(verdict) is is_wanted
    assert Selection().accepts(verdict)


def test_a_ranking_is_the_head_of_all_sorted_in_any_order(
    verdicts: list[Verdict], rng: np.random.Generator
) -> None:
    best: dict[str, Verdict] = {}
    for verdict in sorted(verdicts, key=lambda v: (v.anomaly_p_value, -v.anomaly_score)):
        best.setdefault(verdict.object_id, verdict)
    expected = list(best.values())[:5]
    for _ in range(5):
        ranking = Ranking(5)
        order = [verdicts[i] for i in rng.permutation(len(verdicts))]
        changes = [ranking.add(verdict, NIGHT) for verdict in order + order]
        assert [(v.anomaly_p_value, v.anomaly_score) for v in ranking.verdicts] == [
            (v.anomaly_p_value, v.anomaly_score) for v in expected
        ]
        assert not any(changes[len(order) :])  # a duplicate has the same identity


def test_ties_go_to_the_larger_score(verdicts: list[Verdict]) -> None:
    tied = [v._replace(anomaly_p_value=0.01, object_id=str(k)) for k, v in enumerate(verdicts[:10])]
    ranking = Ranking(10)
    for verdict in tied:
        ranking.add(verdict, NIGHT)
    scores = [v.anomaly_score for v in ranking.verdicts]
    assert scores == sorted(scores, reverse=True)


def seen_again(verdict: Verdict, *, p_value: float, digest: str, at: datetime = NIGHT) -> Verdict:
    return verdict._replace(verdict_id=digest, inputs_digest=digest, anomaly_p_value=p_value, emitted_at=at)


def test_an_object_stands_once_and_with_its_strangest_verdict(verdicts: list[Verdict]) -> None:
    first = seen_again(verdicts[0], p_value=0.2, digest="one epoch")
    milder = seen_again(verdicts[0], p_value=0.3, digest="two epochs")
    stranger = seen_again(verdicts[0], p_value=0.1, digest="three epochs")
    for order in ([first, milder, stranger], [stranger, milder, first], [milder, stranger, first]):
        ranking = Ranking(5)
        for verdict in order:
            ranking.add(verdict, NIGHT)
        assert [v.verdict_id for v in ranking.verdicts] == ["three epochs"]


@pytest.mark.parametrize(
    ("p_value", "score_step", "digest", "returns"),
    [
        (0.1, 0.0, "new epoch", True),
        (0.2, 0.0, "new epoch", False),  # as strange as before
        (0.2, 0.1, "new epoch", True),  # the p-value can fall no further, the score can rise
        (0.3, 0.1, "new epoch", False),
        (0.1, 0.0, "one epoch", False),  # nothing new of it
    ],
)
def test_an_object_returns_in_another_night_only_if_it_changed(
    verdicts: list[Verdict], p_value: float, score_step: float, digest: str, returns: bool
) -> None:
    ranking = Ranking(5)
    first = seen_again(verdicts[0], p_value=0.2, digest="one epoch")
    assert ranking.add(first, NIGHT)
    tomorrow = NIGHT + timedelta(days=1)
    again = seen_again(verdicts[0], p_value=p_value, digest=digest, at=tomorrow)
    again = again._replace(anomaly_score=first.anomaly_score + score_step)
    ranking.add(again, tomorrow)
    assert (ranking.verdicts == (again,)) is returns
    # Two nights later it is compared with the strangest that was listed, not with the last.
    later = NIGHT + timedelta(days=2)
    ranking.add(again._replace(inputs_digest="later", emitted_at=later), later)
    assert bool(ranking.verdicts) is (digest == "one epoch")


def withdrawn(verdict: Verdict) -> Verdict:
    return verdict._replace(revision=Revision.RETRACTION, verdict_id=f"not {verdict.verdict_id}")


def test_a_retraction_takes_its_own_alert_out_of_the_ranking(verdicts: list[Verdict]) -> None:
    ranking = Ranking(2)
    sky = [
        seen_again(v, p_value=p, digest=str(p))._replace(object_id=str(p))
        for v, p in zip(verdicts, (0.1, 0.2, 0.3, 0.4), strict=False)
    ]
    for verdict in sky:
        ranking.add(verdict, NIGHT)
    assert ranking.add(withdrawn(sky[0]), NIGHT)
    assert ranking.verdicts == tuple(sky[1:3]), "the place goes to the one behind"
    assert not ranking.add(withdrawn(sky[0]), NIGHT)
    assert not ranking.add(withdrawn(sky[3]), NIGHT)
    other_alert = sky[1]._replace(alert_key="lsst:another")
    assert not ranking.add(withdrawn(other_alert), NIGHT)
    assert ranking.verdicts == tuple(sky[1:3])


def alerts_of(verdict: Verdict, *p_values: float) -> list[Verdict]:
    """Return verdicts on alerts of one object, each on an alert and inputs of its own."""
    return [
        seen_again(verdict, p_value=p, digest=f"{n}")._replace(alert_key=f"ztf:{n}")
        for n, p in enumerate(p_values)
    ]


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_where_the_strangest_is_withdrawn_an_object_stands_with_its_other_alerts(
    verdicts: list[Verdict], order: tuple[int, ...]
) -> None:
    ranking, sky = Ranking(5), alerts_of(verdicts[0], 0.3, 0.1, 0.2)
    for n in order:
        ranking.add(sky[n], NIGHT)
    for withdrawn_now, standing in ((1, 2), (2, 0)):
        assert ranking.add(withdrawn(sky[withdrawn_now]), NIGHT)
        assert ranking.verdicts == (sky[standing],)
    assert ranking.add(withdrawn(sky[0]), NIGHT)
    assert ranking.verdicts == ranking.held == ()


@given(
    p_values=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.1, 0.2, 0.3])), min_size=1, max_size=9),
    data=st.data(),
)
def test_a_ranking_is_as_if_the_withdrawn_alerts_had_not_come(
    p_values: list[tuple[int, float]], data: st.DataObject
) -> None:
    sky = [
        a_verdict(n, object_id=f"ztf:{of}", anomaly_p_value=p, inputs_digest=f"{n}", emitted_at=NIGHT)
        for n, (of, p) in enumerate(p_values)
    ]
    # As many as are held: what is behind those is not known any more.
    few = [v for n, v in enumerate(sky) if sum(w.object_id == v.object_id for w in sky[:n]) < PER_OBJECT]
    gone = data.draw(st.sets(st.sampled_from([v.alert_id for v in few])))
    late, never = Ranking(5), Ranking(5)
    for verdict in [*few, *(withdrawn(v) for v in few if v.alert_id in gone)]:
        late.add(verdict, NIGHT)
    for verdict in few:
        if verdict.alert_id not in gone:
            never.add(verdict, NIGHT)
    assert late.verdicts == never.verdicts


def test_so_many_alerts_of_an_object_are_held_and_no_more(verdicts: list[Verdict]) -> None:
    ranking, n = Ranking(1), PER_OBJECT + 2
    sky = alerts_of(verdicts[0], *(0.1 * k for k in range(n, 0, -1)))
    for verdict in sky:
        ranking.add(verdict, NIGHT)
    assert ranking.held == tuple(reversed(sky[-PER_OBJECT:]))


def test_another_alert_that_is_as_strange_is_no_news(verdicts: list[Verdict]) -> None:
    ranking, (first, second) = Ranking(1), alerts_of(verdicts[0], 0.1, 0.1)
    assert ranking.add(second, NIGHT)
    assert not ranking.add(first, NIGHT)
    assert ranking.add(withdrawn(second), NIGHT)
    assert ranking.verdicts == (first,)


def test_what_was_withdrawn_in_another_night_is_no_measure_of_its_object(verdicts: list[Verdict]) -> None:
    ranking, tomorrow = Ranking(5), NIGHT + timedelta(days=1)
    first = seen_again(verdicts[0], p_value=0.01, digest="one epoch")
    milder = seen_again(verdicts[0], p_value=0.2, digest="another", at=tomorrow)
    ranking.add(first, NIGHT)
    ranking.add(withdrawn(first)._replace(emitted_at=tomorrow), tomorrow)
    assert ranking.add(milder, tomorrow)


@pytest.mark.parametrize("context", ["stellar", "galaxy_host", "solar_system", "artefact", "unknown"])
def test_a_context_is_asked_for_by_its_name(verdicts: list[Verdict], context: str) -> None:
    verdict = verdicts[0]._replace(source_context=context)
    assert Selection(context=context).accepts(verdict)
    assert Selection(context="any").accepts(verdict)
    assert not Selection(context="unknown" if context == "stellar" else "stellar").accepts(verdict)


def test_noon_begins_a_new_night_and_yesterday_is_not_in_it(verdicts: list[Verdict]) -> None:
    ranking = Ranking(3)
    assert ranking.add(verdicts[0], NIGHT)
    assert not ranking.add(verdicts[1]._replace(emitted_at=NIGHT - timedelta(hours=12)), NIGHT)
    next_day = NIGHT + timedelta(hours=21)
    assert ranking.add(verdicts[2]._replace(emitted_at=next_day), next_day)
    assert [v.verdict_id for v in ranking.verdicts] == [verdicts[2].verdict_id]


@given(
    minutes=st.lists(st.integers(0, 3 * 24 * 60), min_size=2, max_size=8).map(sorted),
    surveys=st.lists(st.sampled_from([*SITES]), min_size=8, max_size=8),
    zone=st.sampled_from(["UTC", "Europe/Paris", "Asia/Tokyo", "America/Los_Angeles"]),
)
def test_a_ranking_holds_the_night_of_each_telescope_wherever_the_reader_is(
    minutes: list[int], surveys: list[str], zone: str
) -> None:
    # Over the end of summer time in Europe and in America.
    times = [datetime(2026, 10, 31, tzinfo=UTC) + timedelta(minutes=n) for n in minutes]
    sky = [
        a_verdict(n, survey=survey, emitted_at=when)
        for n, (when, survey) in enumerate(zip(times, surveys, strict=False))
    ]
    ranking = Ranking(len(sky))
    for verdict in sky:
        ranking.add(verdict, verdict.emitted_at.astimezone(ZoneInfo(zone)))
    now = times[-1]
    tonight = [v for v in sky if night_of(v.survey, v.emitted_at) == night_of(v.survey, now)]
    assert {v.alert_id for v in ranking.verdicts} == {v.alert_id for v in tonight}


def test_from_the_start_on_everything_counts_until_the_next_noon() -> None:
    ranking = Ranking(3, from_start=True)
    long_ago, yesterday = (a_verdict(n, emitted_at=NIGHT - timedelta(days=9 - 8 * n)) for n in range(2))
    assert ranking.add(long_ago, NIGHT)
    assert ranking.add(yesterday, NIGHT)
    still = last_noon("ztf", NIGHT + timedelta(days=1)) - timedelta(seconds=1)
    assert not ranking.add(yesterday, still)
    assert len(ranking.verdicts) == 2
    tonight = a_verdict(2, emitted_at=still + timedelta(seconds=1))
    assert ranking.add(tonight, tonight.emitted_at)
    assert ranking.verdicts == (tonight,)


def test_a_survey_whose_telescope_is_not_known_has_its_last_day() -> None:
    ranking = Ranking(3)
    later = a_verdict(0, survey="later", emitted_at=NIGHT - timedelta(hours=23))
    assert ranking.add(later, NIGHT)
    assert not ranking.add(a_verdict(1, survey="later", emitted_at=NIGHT - timedelta(hours=25)), NIGHT)
