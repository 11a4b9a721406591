# SPDX-License-Identifier: BSD-3-Clause
"""Distances between distributions, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from broker_plugin.distributions import (
    ks_between,
    ks_from_uniform,
    population_stability,
    rank_correlation,
)

EXACT = 1e-12
"""The same sums in another order."""


def test_distances_are_those_of_scipy(rng: np.random.Generator) -> None:
    one, other = rng.random(300), rng.beta(2.0, 3.0, 200)
    assert ks_from_uniform(one) == pytest.approx(stats.kstest(one, "uniform").statistic, abs=EXACT)
    assert ks_between(one, other) == pytest.approx(stats.ks_2samp(one, other).statistic, abs=EXACT)


def test_rank_correlation_is_that_of_scipy_with_ties_too(rng: np.random.Generator) -> None:
    for digits in (1, 8):
        one = np.round(rng.normal(size=200), digits)
        other = np.round(one + rng.normal(size=200), digits)
        assert rank_correlation(one, other) == pytest.approx(stats.spearmanr(one, other).statistic, abs=EXACT)
    assert rank_correlation(one, one**3) == pytest.approx(1.0, abs=EXACT)
    assert rank_correlation(one, np.zeros(200)) is None


def test_stability_is_symmetric_and_zero_for_the_same(rng: np.random.Generator) -> None:
    one, other = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(5))
    assert population_stability(one, one) == 0.0
    assert population_stability(one, other) == pytest.approx(population_stability(other, one), abs=EXACT)
    assert population_stability(one, other) > 0.0
    assert np.isfinite(population_stability(np.array([1.0, 0.0]), np.array([0.0, 1.0])))
