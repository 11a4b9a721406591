# SPDX-License-Identifier: BSD-3-Clause
"""Measures of resamples: scikit-learn on the stars written out is the oracle."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score, roc_auc_score

from trainer.metrics import calibration_error
from trainer.resampling import (
    areas,
    calibration_chances,
    calibration_errors,
    class_measures,
    interval_of,
    resamples,
)

N_CLASSES = 4
ROUNDING = 1e-9


@pytest.fixture
def sample(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    truth = rng.choice(N_CLASSES, 80, p=[0.6, 0.3, 0.08, 0.02])
    probability = rng.dirichlet(np.ones(N_CLASSES), 80)
    return truth.astype(np.int64), probability


def test_every_resample_measures_as_scikit_learn_does(sample: tuple[np.ndarray, np.ndarray]) -> None:
    truth, probability = sample
    named = probability.argmax(axis=1)
    weights = resamples(len(truth), seed=3, count=20)
    found = class_measures(weights, truth, named, n_classes=N_CLASSES)
    errors = calibration_errors(weights, probability, truth)
    for k, each in enumerate(weights):
        rows = np.repeat(np.arange(len(truth)), each.astype(int))
        there = np.unique(truth[rows])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            f1 = f1_score(truth[rows], named[rows], labels=there, average="macro", zero_division=0)
            recall = recall_score(truth[rows], named[rows], labels=there, average="macro")
        assert found["macro_f1"][k] == pytest.approx(f1, abs=ROUNDING)
        assert found["balanced_accuracy"][k] == pytest.approx(recall, abs=ROUNDING)
        assert found["accuracy"][k] == pytest.approx((truth[rows] == named[rows]).mean(), abs=ROUNDING)
        assert errors[k] == pytest.approx(calibration_error(probability[rows], truth[rows]), abs=ROUNDING)


@pytest.mark.parametrize("levels", [3, 1000])
def test_areas_are_those_of_scikit_learn_ties_and_all(rng: np.random.Generator, levels: int) -> None:
    score = rng.integers(0, levels, 150).astype(np.float64)
    odd = rng.random(150) < 0.2
    weights = resamples(150, seed=4, count=250)
    found = areas(weights, score, odd)
    for k in (0, 1, 99, 100, 250):
        rows = np.repeat(np.arange(150), weights[k].astype(int))
        assert found[k] == pytest.approx(roc_auc_score(odd[rows], score[rows]), abs=ROUNDING)


def test_a_named_class_that_is_not_measured_is_wrong() -> None:
    found = class_measures(np.ones((1, 2)), np.array([0, 1]), np.array([0, -1]), n_classes=2)
    assert found["accuracy"][0] == 0.5
    assert found["f1_by_class"][0].tolist() == [1.0, 0.0]


def test_what_cannot_be_measured_is_none_and_not_a_number() -> None:
    nobody = np.zeros(3, np.bool_)
    assert interval_of(areas(resamples(3, seed=1, count=5), np.arange(3.0), nobody)) is None
    nothing = resamples(0, seed=1, count=5)
    assert interval_of(areas(nothing, np.zeros(0), np.zeros(0, np.bool_))) is None
    assert interval_of(calibration_errors(nothing, np.zeros((0, 2)), np.zeros(0, np.int64))) is None


def test_intervals_of_a_mean_cover_it_as_often_as_they_say(rng: np.random.Generator) -> None:
    """Accuracy is a mean of independent stars, so its interval must hold the true one in 95 % of samples."""
    true, n_samples, covered = 0.8, 300, 0
    for seed in range(n_samples):
        named = np.where(rng.random(150) < true, 0, 1)
        weights = resamples(150, seed=seed, count=300)
        values = class_measures(weights, np.zeros(150, np.int64), named, n_classes=2)["accuracy"]
        interval = interval_of(values)
        assert interval is not None
        covered += interval.low <= true <= interval.high
    # Four standard deviations of the count, and two points for the percentile method at 150 stars.
    assert covered / n_samples == pytest.approx(0.95, abs=0.02 + 4 * np.sqrt(0.95 * 0.05 / n_samples))


@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_the_interval_of_a_calibration_error_covers_it(rng: np.random.Generator, gap: float) -> None:
    """Right probabilities have none, and percentiles of resamples would never say so."""
    n_samples, covered = 200, 0
    for seed in range(n_samples):
        likely = rng.uniform(0.65, 0.95, 500)
        truth = (rng.random(500) > likely - gap).astype(np.int64)
        sample = resamples(500, seed=seed, count=200), np.stack([likely, 1 - likely], axis=1), truth
        interval = interval_of(calibration_errors(*sample), chances=calibration_chances(*sample))
        assert interval is not None
        covered += interval.low <= gap <= interval.high
    # Four standard deviations of the count, and three points for the method at so few stars.
    assert covered / n_samples >= 0.95 - 0.03 - 4 * np.sqrt(0.95 * 0.05 / n_samples)


def test_a_paired_difference_is_known_better_than_either_part(rng: np.random.Generator) -> None:
    truth = rng.integers(0, 2, 400)
    one = np.where(rng.random(400) < 0.7, truth, 1 - truth)
    other = np.where(rng.random(400) < 0.03, 1 - one, one)
    weights = resamples(400, seed=9)
    first, second = (class_measures(weights, truth, each, n_classes=2)["accuracy"] for each in (one, other))
    alone, difference = interval_of(first), interval_of(second - first)
    assert alone is not None
    assert difference is not None
    assert difference.high - difference.low < 0.6 * (alone.high - alone.low)
