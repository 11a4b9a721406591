# SPDX-License-Identifier: BSD-3-Clause
"""Laws of the class prior: Bayes' rule, and what an operator may write."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from broker_plugin.errors import ConfigurationError
from broker_plugin.prior import BUNDLE, UNIFORM, parse_prior, prior_text, reweighted

N_CLASSES = 4
ROUNDING = 1e-12
"""A product, a sum of four and a quotient of float64."""


def positive_rows(n: int) -> st.SearchStrategy[np.ndarray]:
    weights = st.floats(1e-3, 1.0)
    return hnp.arrays(np.float64, (n, N_CLASSES), elements=weights).map(
        lambda rows: rows / rows.sum(axis=1, keepdims=True)
    )


frequencies = positive_rows(1).map(lambda rows: rows[0])


@given(positive_rows(5), frequencies)
def test_the_own_prior_changes_no_bit(probabilities: np.ndarray, own: np.ndarray) -> None:
    assert np.array_equal(reweighted(probabilities, own, own.copy()), probabilities)


@given(positive_rows(5), frequencies, frequencies)
def test_probabilities_sum_to_one_and_lie_between(
    probabilities: np.ndarray, own: np.ndarray, wanted: np.ndarray
) -> None:
    found = reweighted(probabilities, own, wanted)
    assert found.sum(axis=1) == pytest.approx(1.0, abs=ROUNDING)
    assert ((found >= 0) & (found <= 1 + ROUNDING)).all()


@given(positive_rows(5), frequencies, frequencies, frequencies)
def test_a_detour_over_another_prior_leads_to_the_same(
    probabilities: np.ndarray, own: np.ndarray, between: np.ndarray, wanted: np.ndarray
) -> None:
    direct = reweighted(probabilities, own, wanted)
    assert reweighted(reweighted(probabilities, own, between), between, wanted) == pytest.approx(
        direct, abs=ROUNDING
    )
    back = reweighted(direct, wanted, own)
    assert back == pytest.approx(probabilities, abs=ROUNDING)


@given(positive_rows(5), frequencies, st.integers(0, N_CLASSES - 1), st.floats(1.0, 100.0))
def test_a_class_that_is_more_frequent_is_more_probable_and_no_other_is(
    probabilities: np.ndarray, own: np.ndarray, of: int, factor: float
) -> None:
    more = own.copy()
    more[of] *= factor
    found = reweighted(probabilities, own, more / more.sum())
    assert (found[:, of] >= probabilities[:, of] - ROUNDING).all()
    others = np.arange(N_CLASSES) != of
    assert (found[:, others] <= probabilities[:, others] + ROUNDING).all()
    # Among themselves the others keep their odds.
    odds = found[:, others] / probabilities[:, others]
    assert odds == pytest.approx(np.broadcast_to(odds[:, :1], odds.shape), rel=1e-9)


def test_it_is_bayes_rule_of_two_populations(rng: np.random.Generator) -> None:
    """Stars of two classes with a Gaussian colour each: the posterior of either mixture is known."""
    x = rng.normal(size=(50, 1))
    likelihood = np.exp(-0.5 * (x - np.array([0.0, 1.0])) ** 2)

    def posterior(shares: np.ndarray) -> np.ndarray:
        joint = likelihood * shares
        return joint / joint.sum(axis=1, keepdims=True)

    own, wanted = np.array([0.9, 0.1]), np.array([0.3, 0.7])
    assert reweighted(posterior(own), own, wanted) == pytest.approx(posterior(wanted), abs=ROUNDING)


def test_a_class_without_a_training_star_gives_no_infinity() -> None:
    found = reweighted(np.array([[1.0, 0.0], [0.5, 0.5]]), [1.0, 0.0], [0.5, 0.5])
    assert np.isfinite(found).all()
    assert found.sum(axis=1) == pytest.approx(1.0)


def test_what_an_operator_may_write() -> None:
    classes = ["EW", "EA"]
    assert parse_prior(BUNDLE, classes) is None
    uniform = parse_prior(UNIFORM, classes)
    assert uniform is not None
    assert (uniform.name, uniform.frequencies) == ("uniform", (0.5, 0.5))
    table = prior_text({"name": "disc", "EA": 30, "EW": 10})
    disc = parse_prior(table, classes)
    assert disc is not None
    assert (disc.name, disc.frequencies) == ("disc", (0.25, 0.75))
    assert prior_text(UNIFORM) == UNIFORM


def test_priors_without_a_name_are_told_apart_by_their_numbers() -> None:
    priors = [parse_prior(text, ["EW", "EA"]) for text in ("EW=1,EA=3", "EA=0.75,EW=0.25", "EW=3,EA=1")]
    names = [prior.name for prior in priors if prior]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("EW=0.5", "missing: EA"),
        ("EW=0.5,EA=0.2,AGN=0.3", "unknown: AGN"),
        ("EW=0.5,EA=0.2,EW=0.3", "repeated: EW"),
        ("EW=1e308,EA=1e308", "positive frequency"),
        ("EW=0.5,EA=0", "positive frequency"),
        ("EW=0.5,EA=nan", "positive frequency"),
        ("EW=0.5,EA=some", "positive frequency"),
        ("flat", "uniform"),
    ],
)
def test_what_is_no_prior_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        parse_prior(text, ["EW", "EA"])
