# SPDX-License-Identifier: BSD-3-Clause
"""Measures of injected events against what is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from trainer.injection.measures import LEVELS, efficiency_curve, recall_at
from trainer.injection.ranking import NIGHT_ALERTS, PREVALENCE, precision_at_top


def test_recall_is_that_of_two_normal_distributions(rng: np.random.Generator) -> None:
    ordinary, odd = rng.standard_normal(20_000), rng.normal(3.0, 1.0, 20_000)
    for level in LEVELS[:2]:
        found = recall_at(ordinary, odd, level)
        assert found is not None
        low, high = found["false_alarms"]
        assert low < level < high
        # The threshold's own uncertainty, carried over to the recall, and four sigma of the events.
        due = norm.sf(norm.isf(np.array([low, high])) - 3.0)
        assert due[0] - 0.015 < found["recall"] < due[1] + 0.015


def test_ordinary_objects_pass_no_oftener_than_the_level_says(rng: np.random.Generator) -> None:
    passed = []
    for _ in range(400):
        found = recall_at(rng.random(199), rng.random(50), 0.01)
        assert found is not None
        passed.append(found["recall"])
    # Conformal: at most 0.01 in the mean; 20,000 trials tell it to 0.0015, threshold noise included.
    assert np.mean(passed) == pytest.approx(0.01, abs=0.004)


def test_a_level_that_the_sample_cannot_tell_is_not_told() -> None:
    assert recall_at(np.arange(9998.0), np.array([1e9]), 1e-4) is None
    assert recall_at(np.arange(9999.0), np.array([1e9]), 1e-4) is not None


def test_ties_do_not_count_as_found() -> None:
    ordinary = np.r_[np.zeros(90), np.ones(10)]
    found = recall_at(ordinary, np.ones(5), 0.05)
    assert found is not None
    assert found["recall"] == 0.0


def test_efficiencies_fall_into_their_bins() -> None:
    value = np.array([0.5, 1.5, 1.7, 99.0])
    curve = efficiency_curve(np.array([False, True, False, True]), value, (0.0, 1.0, 2.0, 3.0, np.inf))
    assert curve["n"] == [1, 2, 1]
    assert curve["efficiency"] == [0.0, 0.5, 1.0]
    assert curve["high"] == [1.0, 2.0, None]
    for share, (low, high) in zip(curve["efficiency"], curve["interval"], strict=True):
        assert low <= share <= high


def test_an_exponential_tail_is_continued_as_it_is(rng: np.random.Generator) -> None:
    ordinary = rng.exponential(1.0, 4000)
    odd = rng.uniform(10.0, 20.0, 4000)
    found = precision_at_top(ordinary, odd)
    for top in (10, 100):
        threshold = np.linspace(5, 20, 100_001)
        events = NIGHT_ALERTS * PREVALENCE * np.clip((20.0 - threshold) / 10.0, 0.0, 1.0)
        alerts = events + NIGHT_ALERTS * (1 - PREVALENCE) * np.exp(-threshold)
        due = events[np.argmin(np.abs(alerts - top))] / top
        low, high = found[f"top_{top}"]["extrapolated_interval"]
        assert low - 0.02 <= due <= high + 0.02
        assert found[f"top_{top}"]["measured"] < 0.05 < found[f"top_{top}"]["extrapolated"]


def test_events_that_outshine_nothing_are_at_no_top(rng: np.random.Generator) -> None:
    ordinary = rng.standard_normal(2000)
    found = precision_at_top(ordinary, ordinary[:500] - 5.0)
    assert found["top_10"]["extrapolated"] == found["top_10"]["measured"] == 0.0


def test_ranks_are_not_extrapolated(rng: np.random.Generator) -> None:
    ordinary = -rng.integers(1, 300, 2000) / 300
    found = precision_at_top(ordinary, np.full(100, -1 / 300), ranks=True)["top_10"]
    assert set(found) == {"measured"}
    tied = (ordinary >= -1 / 300).sum()
    # Events among those that tie for the smallest p-value, in the random order that ties have.
    assert found["measured"] == pytest.approx(1e-5 / (1e-5 + (tied + 1) / 2001), rel=1e-3)
