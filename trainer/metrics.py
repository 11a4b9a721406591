# SPDX-License-Identifier: BSD-3-Clause
"""How good probabilities and scores are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr  # type: ignore[import-untyped]
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

__all__ = [
    "auroc",
    "bin_of_confidence",
    "calibration_error",
    "classification",
    "paired_p",
    "reliability",
    "spread",
]

PAIRS_MIN = 2
"""A spread between seeds, and so a test, needs two of them."""

N_BINS = 15
"""Bins of the expected calibration error, the customary number."""


def classification(
    probability: NDArray[np.float64], label: NDArray[np.int64], balanced: NDArray[np.float64]
) -> dict[str, float]:
    """Return accuracies, macro-F1 and the calibration error.

    Parameters
    ----------
    probability
        Under the named prior: accuracy, macro-F1 and calibration are measured with these.
    balanced
        For classes of equal frequency: balanced accuracy is measured with these.
    """
    predicted = probability.argmax(axis=1)
    return {
        "accuracy": float((predicted == label).mean()),
        "balanced_accuracy": float(balanced_accuracy_score(label, balanced.argmax(axis=1))),
        "macro_f1": float(f1_score(label, predicted, average="macro", zero_division=0)),
        "ece": calibration_error(probability, label),
    }


def calibration_error(probability: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    """Return the expected calibration error: confidence against accuracy, in bins of confidence.

    Examples
    --------
    >>> calibration_error(np.array([[0.8, 0.2]] * 5), np.array([0, 0, 0, 0, 1]))
    0.0
    """
    confidence, right = probability.max(axis=1), probability.argmax(axis=1) == label
    bin_ = bin_of_confidence(confidence)
    gaps = [
        abs(confidence[bin_ == k].mean() - right[bin_ == k].mean()) * (bin_ == k).mean() for k in set(bin_)
    ]
    return round(float(sum(gaps)), 12)


def bin_of_confidence(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin of each confidence: 15 of equal width from 0 to 1, the last one closed.

    Examples
    --------
    >>> bin_of_confidence(np.array([0.0, 0.5, 1.0]))
    array([ 0,  7, 14])
    """
    return np.minimum((confidence * N_BINS).astype(np.int64), N_BINS - 1)


def reliability(probability: NDArray[np.float64], label: NDArray[np.int64]) -> list[dict[str, float]]:
    """Return confidence and accuracy in each bin of confidence that holds a star.

    Examples
    --------
    >>> reliability(np.array([[0.8, 0.2]] * 5), np.array([0, 0, 0, 0, 1]))
    [{'n': 5, 'confidence': 0.8, 'accuracy': 0.8}]
    """
    confidence, right = probability.max(axis=1), probability.argmax(axis=1) == label
    bin_ = bin_of_confidence(confidence)
    return [
        {
            "n": int((bin_ == k).sum()),
            "confidence": round(float(confidence[bin_ == k].mean()), 12),
            "accuracy": float(right[bin_ == k].mean()),
        }
        for k in np.unique(bin_)
    ]


def auroc(ordinary: NDArray[np.float64], odd: NDArray[np.float64]) -> float:
    """Return the chance that an odd object scores above an ordinary one."""
    truth = np.concatenate([np.zeros(len(ordinary)), np.ones(len(odd))])
    return float(roc_auc_score(truth, np.concatenate([ordinary, odd])))


def spread(by_seed: Mapping[int, float]) -> dict[str, Any] | None:
    """Return mean and population spread of a measure over seeds, and its value for each; None without any.

    Examples
    --------
    >>> spread({1: 0.5, 2: 0.7})
    {'mean': 0.6, 'std': 0.1, 'seeds': {'1': 0.5, '2': 0.7}}
    """
    if not by_seed:
        return None
    values = np.array(list(by_seed.values()))
    return {
        "mean": round(float(values.mean()), 3),
        "std": round(float(values.std()), 3),
        "seeds": {str(seed): round(value, 3) for seed, value in sorted(by_seed.items())},
    }


def paired_p(gains: NDArray[np.float64]) -> float | None:
    """Return the p-value of a two-sided paired t-test, None where there is no spread to test against."""
    n = len(gains)
    if n < PAIRS_MIN or not gains.std() > 0:
        return None
    t = gains.mean() / (gains.std(ddof=1) / np.sqrt(n))
    return float(2 * stdtr(n - 1, -abs(t)))
