# SPDX-License-Identifier: BSD-3-Clause
"""Calibration keeps its promises on data that it has not seen."""

import numpy as np
import pytest

from broker_plugin.calibration import softmax
from trainer.calibrate import MISCOVERAGE, class_threshold, fit_temperature
from trainer.metrics import auroc, calibration_error


def test_class_sets_cover_what_they_promise(rng: np.random.Generator) -> None:
    misses = []
    for _ in range(400):
        threshold = class_threshold(rng.random(200) ** 2)
        misses.append(float((rng.random(200) ** 2 < threshold).mean()))
    # Split conformal prediction: between alpha - 1 / (n + 1) and alpha; four standard errors of the mean.
    error = 4 * np.std(misses) / 20
    assert MISCOVERAGE - 1 / 201 - error <= np.mean(misses) <= MISCOVERAGE + error


def test_few_alerts_rule_out_no_class() -> None:
    assert class_threshold(np.array([0.5, 0.6, 0.7])) == 0.0


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(rng: np.random.Generator, temperature: float) -> None:
    logits = rng.normal(0, 2, (20_000, 5)).astype(np.float32)
    probability = softmax(logits, np.full(len(logits), temperature))
    label = (probability.cumsum(axis=1) > rng.random(len(logits))[:, None]).argmax(axis=1)
    # 20,000 labels fix the temperature to some 2 %; five sigma.
    assert fit_temperature(logits, label) == pytest.approx(temperature, rel=0.1)


def test_the_calibration_error_of_right_probabilities_is_small(rng: np.random.Generator) -> None:
    probability = softmax(rng.normal(0, 2, (20_000, 4)), np.ones(20_000))
    label = (probability.cumsum(axis=1) > rng.random(20_000)[:, None]).argmax(axis=1)
    # 15 bins of 1,300 alerts: each accuracy is known to 0.014, their weighted mean gap is near 0.01.
    assert calibration_error(probability, label) < 0.02
    overconfident = softmax(np.log(probability), np.full(20_000, 0.4))
    assert calibration_error(overconfident, label) > 0.05


def test_the_auroc_of_separate_scores_is_one() -> None:
    assert auroc(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 1.0
    assert auroc(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 0.5
