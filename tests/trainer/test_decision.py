# SPDX-License-Identifier: BSD-3-Clause
"""The decision rule gains what it was chosen for, on stars that it was not chosen on."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from broker_plugin.decision import decided
from trainer.decision import MEASURES, choose_weights

SHARES = np.array([0.9, 0.08, 0.02])


def sample(rng: np.random.Generator, n: int, separation: float) -> tuple[np.ndarray, np.ndarray]:
    """Return calibrated probabilities and classes: Gaussians in a plane, rare ones among a common one."""
    label = rng.choice(3, n, p=SHARES)
    centre = separation * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    place = centre[label] + rng.normal(size=(n, 2))
    joint = SHARES * np.exp(-0.5 * ((place[:, None] - centre) ** 2).sum(axis=2))
    return joint / joint.sum(axis=1, keepdims=True), label.astype(np.int64)


@pytest.mark.parametrize("objective", ["macro_f1", "balanced_accuracy"])
def test_a_rule_gains_on_other_stars_where_classes_overlap(rng: np.random.Generator, objective: str) -> None:
    chosen_on, measured_on = sample(rng, 3000, 1.5), sample(rng, 20_000, 1.5)
    weights = choose_weights(*chosen_on, objective)  # type: ignore[arg-type]
    assert weights is not None
    assert max(weights) == 1.0
    probability, label = measured_on
    measure = {
        "macro_f1": lambda named: f1_score(label, named, average="macro"),
        "balanced_accuracy": lambda named: balanced_accuracy_score(label, named),
    }[objective]
    assert measure(decided(probability, np.array([weights]))) > measure(probability.argmax(axis=1)) + 0.02
    # Rare classes weigh more.
    assert weights[0] < min(weights[1:])


def test_where_classes_are_plain_the_most_probable_one_stays(rng: np.random.Generator) -> None:
    assert choose_weights(*sample(rng, 3000, 8.0), "macro_f1") is None


def test_argmax_asks_for_nothing(rng: np.random.Generator) -> None:
    assert choose_weights(*sample(rng, 50, 1.0), "argmax") is None


def test_the_measures_are_those_of_scikit_learn(rng: np.random.Generator) -> None:
    truth, named = rng.integers(0, 3, 200), rng.integers(0, 4, 200)
    confusion = np.bincount(truth * 4 + named, minlength=16).reshape(4, 4)
    expected = f1_score(truth, named, labels=[0, 1, 2], average="macro")
    assert MEASURES["macro_f1"](confusion) == pytest.approx(expected)
    recall = np.mean([(named[truth == k] == k).mean() for k in range(3)])
    assert MEASURES["balanced_accuracy"](confusion) == pytest.approx(recall)
