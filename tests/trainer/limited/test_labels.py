# SPDX-License-Identifier: BSD-3-Clause
"""Shares of labels are nested, hold every class by its share, and never part an object."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainer.limited.labels import label_order


@given(
    arrays(np.int64, 60, elements=st.integers(-1, 3)),
    arrays(np.int64, 60, elements=st.integers(0, 45)),
    st.integers(0, 5),
)
def test_stars_of_one_object_go_together_and_those_without_a_class_never(
    label: np.ndarray, group: np.ndarray, seed: int
) -> None:
    order = label_order(label, group, np.random.default_rng(seed))
    assert (np.isinf(order) == (label < 0)).all()
    for each in np.unique(group):
        assert len(set(order[(group == each) & (label >= 0)].tolist())) <= 1


def test_every_share_holds_that_share_of_every_class(rng: np.random.Generator) -> None:
    label = np.repeat([0, 1, 2], [1000, 200, 3])
    order = label_order(label, np.arange(len(label)), rng)
    smaller = np.zeros(len(label), np.bool_)
    for share in (0.1, 0.25, 0.5, 1.0):
        kept = order < share
        assert kept[smaller].all()
        for each, n in enumerate(np.bincount(label)):
            assert int(kept[label == each].sum()) == max(1, int(np.ceil(n * share)))
        smaller = kept
    assert smaller.all()


def test_another_seed_keeps_other_stars() -> None:
    label, group = np.zeros(100, np.int64), np.arange(100)
    one, other = (label_order(label, group, np.random.default_rng(seed)) < 0.1 for seed in (1, 2))
    assert (one != other).any()
