# SPDX-License-Identifier: BSD-3-Clause
"""Pairs are two windows of one star, and never the same epochs twice."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.pairs import draw_pairs
from trainer.sets import ExampleSet


@st.composite
def sets(draw: st.DrawFn) -> ExampleSet:
    n = draw(st.integers(1, 40))
    star = draw(st.lists(st.integers(0, 8), min_size=n, max_size=n))
    n_epochs = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    return ExampleSet(
        star=np.array(star),
        label=np.full(n, -1),
        n_epochs=np.array(n_epochs),
        oddity=np.zeros(n, np.int8),
        tokens={},
    )


@given(sets(), st.integers(0, 100))
def test_each_star_is_there_once_with_a_partner_where_it_has_one(examples: ExampleSet, seed: int) -> None:
    pairs = draw_pairs(examples, np.random.default_rng(seed))
    assert sorted(examples.star[pairs.first].tolist()) == sorted(set(examples.star.tolist()))
    first = pairs.first[: len(pairs.second)]
    assert (examples.star[first] == examples.star[pairs.second]).all()
    assert (examples.n_epochs[first] != examples.n_epochs[pairs.second]).all()
    for row in pairs.first[len(pairs.second) :]:
        own = examples.n_epochs[examples.star == examples.star[row]]
        assert len(set(own.tolist())) == 1


@given(sets(), st.data())
def test_some_stars_of_the_pairs_keep_their_partners(examples: ExampleSet, data: st.DataObject) -> None:
    pairs = draw_pairs(examples, np.random.default_rng(1))
    n = len(pairs.first)
    chosen = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n, unique=True))
    some = pairs.take(np.array(chosen))
    assert sorted(some.first.tolist()) == sorted(pairs.first[chosen].tolist())
    assert (examples.star[some.first[: len(some.second)]] == examples.star[some.second]).all()
    assert len(some.second) == sum(each < len(pairs.second) for each in chosen)


def test_every_window_of_a_star_is_drawn_at_some_time(rng: np.random.Generator) -> None:
    examples = ExampleSet(
        star=np.zeros(5, np.int64),
        label=np.full(5, -1),
        n_epochs=np.array([200, 100, 30, 10, 7]),
        oddity=np.zeros(5, np.int8),
        tokens={},
    )
    drawn = [draw_pairs(examples, rng) for _ in range(200)]
    for role in ("first", "second"):
        assert {int(getattr(pairs, role)[0]) for pairs in drawn} == set(range(5))
