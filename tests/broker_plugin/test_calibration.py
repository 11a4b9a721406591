# SPDX-License-Identifier: BSD-3-Clause
"""Laws of p-values, probabilities and conformal sets."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from broker_plugin.calibration import class_sets, p_value, p_value_of_one, softmax

FINITE = st.floats(-1e6, 1e6, allow_nan=False)


def test_p_values_of_ordinary_objects_are_uniform(rng: np.random.Generator) -> None:
    ordinary = np.sort(rng.normal(size=2_000))
    p_values = p_value(rng.normal(size=20_000), ordinary)
    for level in (0.01, 0.1, 0.5, 0.9):
        # 5 standard deviations of a binomial share, of the 20,000 draws and of the 2,000 calibration scores.
        margin = 5 * np.sqrt(level * (1 - level) * (1 / 20_000 + 1 / 2_000))
        assert abs((p_values <= level).mean() - level) < margin


@given(hnp.arrays(np.float64, st.integers(1, 50), elements=FINITE), FINITE, FINITE)
def test_p_values_fall_as_scores_rise(calibration: np.ndarray, one: float, other: float) -> None:
    low, high = sorted((one, other))
    p_low, p_high = p_value(np.array([low, high]), np.sort(calibration))
    assert 1 / (len(calibration) + 1) <= p_high <= p_low <= 1


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=FINITE),
    st.floats(0.05, 20),
)
def test_probabilities_sum_to_one_and_keep_the_order_of_the_logits(
    logits: np.ndarray, temperature: float
) -> None:
    probabilities = softmax(logits, np.full(len(logits), temperature))
    # A sum of at most 9 float64 terms is good to a few units of the last place.
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-14)
    top = probabilities[np.arange(len(logits)), logits.argmax(axis=1)]
    assert (top == probabilities.max(axis=1)).all()


def test_a_class_is_in_the_set_if_it_reaches_the_threshold() -> None:
    one = np.array([[0.1, 0.6, 0.3]])
    assert class_sets(one, np.array([0.3])) == [[1, 2]]
    assert class_sets(one, np.array([0.7])) == [[]]


@given(
    hnp.arrays(np.float64, st.integers(0, 50), elements=st.integers(-9, 9).map(float)),
    hnp.arrays(np.float32, st.integers(1, 9), elements=st.integers(-10, 10).map(float)),
)
def test_p_values_one_by_one_are_those_of_all_together(calibration: np.ndarray, scores: np.ndarray) -> None:
    ordinary = np.sort(calibration)
    one_by_one = [p_value_of_one(score, ordinary.tolist()) for score in scores.tolist()]
    assert one_by_one == p_value(scores, ordinary).tolist()


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 7)), elements=st.floats(0, 1)),
    st.floats(0, 1),
)
def test_a_set_holds_all_that_reach_the_threshold_and_no_other(
    probabilities: np.ndarray, threshold: float
) -> None:
    for row, members in zip(
        probabilities, class_sets(probabilities, np.full(len(probabilities), threshold)), strict=True
    ):
        assert set(members) == set(np.flatnonzero(row >= threshold).tolist())
        assert (np.diff(row[members]) <= 0).all()
