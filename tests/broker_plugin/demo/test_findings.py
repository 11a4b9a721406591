# SPDX-License-Identifier: BSD-3-Clause
"""What is said of a night follows from its verdicts: ranks, found and missed, confusion, the books."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.codec.verdict import Verdict
from broker_plugin.demo.findings import (
    FOUND_FACTOR,
    HISTOGRAM_BINS,
    Playback,
    confusion,
    found_limit,
    p_value_histogram,
    planted_outcomes,
    planted_sentence,
    rank_objects,
)
from broker_plugin.demo.simulator import Night


def with_p_value(verdict: Verdict, p_value: float, **changes: object) -> Verdict:
    return verdict._replace(anomaly_p_value=p_value, **changes)


def test_a_night_adds_up_only_if_every_message_came_out_once(playback: Playback) -> None:
    assert playback.adds_up
    assert not replace(playback, played=playback.played + 1).adds_up
    assert not replace(playback, verdicts=(*playback.verdicts, playback.verdicts[0])).adds_up
    assert not replace(playback, dead_letters=()).adds_up
    one_lost_and_one_twice = (playback.origins[0], *playback.origins[:-1])
    assert not replace(playback, origins=one_lost_and_one_twice).adds_up


def test_every_object_has_one_rank_by_its_strangest_verdict(playback: Playback) -> None:
    ranked = rank_objects(playback.verdicts)
    assert [scored.rank for scored in ranked] == list(range(1, len(ranked) + 1))
    assert {scored.verdict.object_id for scored in ranked} == {v.object_id for v in playback.verdicts}
    assert sum(scored.n_alerts for scored in ranked) == len(playback.verdicts)
    p_values = [scored.verdict.anomaly_p_value for scored in ranked]
    assert p_values == sorted(p_values)
    for scored in ranked:
        own = [v.anomaly_p_value for v in playback.verdicts if v.object_id == scored.verdict.object_id]
        assert scored.verdict.anomaly_p_value == min(own)


def test_ranks_do_not_depend_on_the_order_of_arrival(playback: Playback) -> None:
    forward, backward = rank_objects(playback.verdicts), rank_objects(playback.verdicts[::-1])
    assert [scored.verdict.alert_key for scored in forward] == [s.verdict.alert_key for s in backward]


def test_equal_p_values_are_ranked_by_score(playback: Playback) -> None:
    one, two = playback.verdicts[:2]
    tied = [
        with_p_value(one, 0.01, anomaly_score=0.5, object_id="ztf:one"),
        with_p_value(two, 0.01, anomaly_score=0.6, object_id="ztf:two"),
    ]
    assert [scored.verdict.object_id for scored in rank_objects(tied)] == ["ztf:two", "ztf:one"]


def test_found_means_among_the_strangest_stars(playback: Playback, small_night: Night) -> None:
    """Of the planted, those put at the front are found and those at the back are missed."""
    planted = list(small_night.planted)
    front = set(planted[: len(planted) // 2])
    verdicts = [
        with_p_value(v, 0.001 if v.object_id in front else 0.9 if v.object_id in planted else 0.5)
        for v in playback.verdicts
    ]
    stars = [v for v in verdicts if v.class_applies]
    crowd = [with_p_value(stars[0], 0.5, object_id=f"ztf:crowd{n}") for n in range(found_limit(len(planted)))]
    outcomes = planted_outcomes(small_night, rank_objects([*verdicts, *crowd]))
    assert {outcome.thing.object_id for outcome in outcomes} == set(planted)
    assert {outcome.thing.object_id for outcome in outcomes if outcome.found} == front


def test_other_sources_do_not_push_a_star_out(playback: Playback, small_night: Night) -> None:
    planted = next(iter(small_night.planted))
    limit = found_limit(len(small_night.planted))
    base = next(v for v in playback.verdicts if v.object_id == planted)
    crowd = [
        with_p_value(base, 0.01, object_id=f"ztf:crowd{count}", class_applies=False)
        for count in range(3 * limit)
    ]
    ranked = rank_objects([*crowd, with_p_value(base, 0.02, class_applies=True)])
    (outcome,) = [o for o in planted_outcomes(small_night, ranked) if o.verdict is not None]
    assert outcome.found
    assert outcome.stellar_rank == 1
    assert outcome.rank == 3 * limit + 1


def test_a_planted_object_that_was_not_scored_is_missed(small_night: Night) -> None:
    outcomes = planted_outcomes(small_night, [])
    assert len(outcomes) == len(small_night.planted)
    assert not any(outcome.found for outcome in outcomes)
    assert all(outcome.rank is None and outcome.verdict is None for outcome in outcomes)


def test_few_stars_are_not_said_to_hold_the_planted_ones(playback: Playback, small_night: Night) -> None:
    """If all are looked through, all that was scored is found, which says nothing."""
    star = next(v for v in playback.verdicts if v.class_applies)
    limit = found_limit(len(small_night.planted))
    crowd = [with_p_value(star, 0.5, object_id=f"ztf:crowd{n}") for n in range(2 * limit)]
    few = planted_sentence(small_night, rank_objects(crowd[:limit]))
    assert few.startswith(f"Too short a night to judge by: {limit} stars got a verdict")
    assert planted_sentence(small_night, rank_objects(crowd[:1])).startswith(
        "Too short a night to judge by: 1 star "
    )
    many = planted_sentence(small_night, rank_objects(crowd))
    n_planted = len(small_night.planted)
    # Half of the stars are looked through, so half of the planted are found by chance.
    assert f"0 of {n_planted} planted oddities are among the {limit} strangest of {2 * limit} stars" in many
    assert f"where chance finds {n_planted / 2:.1f}" in many


def test_the_limit_is_fixed_before_looking() -> None:
    assert found_limit(16) == FOUND_FACTOR * 16 == 32


def test_the_confusion_counts_each_ordinary_star_once(playback: Playback, small_night: Night) -> None:
    perfect = [
        v._replace(top_class=small_night.objects[v.object_id].source.label or v.top_class)
        for v in playback.verdicts
    ]
    matrix = confusion(small_night, perfect)
    scored = {v.object_id for v in playback.verdicts if v.class_applies}
    learned = set(playback.verdicts[0].class_probabilities)
    expected = [
        thing
        for name, thing in small_night.objects.items()
        if name in scored and thing.source.label in learned and thing.source.planted is None
    ]
    assert int(matrix.counts.sum()) == len(expected) > 10
    assert matrix.accuracy == 1.0
    worst = confusion(small_night, [v._replace(top_class="ROT") for v in perfect])
    rotators = sum(thing.source.label == "ROT" for thing in expected)
    assert worst.accuracy == pytest.approx(rotators / len(expected))


def test_an_empty_night_has_no_accuracy(small_night: Night) -> None:
    assert confusion(small_night, []).accuracy is None


@given(st.lists(st.floats(min_value=1e-6, max_value=1.0), max_size=200))
def test_the_histogram_loses_no_verdict(p_values: list[float]) -> None:
    counts = p_value_histogram(p_values)
    assert counts.shape == (HISTOGRAM_BINS,)
    assert int(counts.sum()) == len(p_values)


def test_uniform_p_values_fill_the_bins_equally() -> None:
    """Conformal p-values are multiples of 1 / (n + 1); here n + 1 is a multiple of the bins."""
    n = 10 * HISTOGRAM_BINS
    counts = p_value_histogram((np.arange(n) + 1) / n)
    assert set(counts.tolist()) == {10}
