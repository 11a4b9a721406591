# SPDX-License-Identifier: BSD-3-Clause
"""Laws of p-values, probabilities and conformal sets."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from broker_plugin.calibration import class_set, p_value, softmax

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
    assert class_set(np.array([0.1, 0.6, 0.3]), 0.3) == (1, 2)
    assert class_set(np.array([0.1, 0.6, 0.3]), 0.7) == ()
