# SPDX-License-Identifier: BSD-3-Clause
"""Which class is named: weights of the classes, chosen on calibration stars for what is to be large.

The most probable class is right most often, and so rare classes are hardly ever named where light curves are
short. A rule that multiplies each probability by a weight of its class can do better by another measure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from broker_plugin.decision import ARGMAX, decided

__all__ = ["MEASURES", "Objective", "choose_weights"]

Objective = Literal["argmax", "macro_f1", "balanced_accuracy"]
"""What the rule is chosen for; `argmax` for the most probable class."""

GAIN_MIN = 0.02
"""Least gain of a step. Of 3,000 stars a dozen are of the rarest class, so macro-F1 is known to 0.01: smaller
steps follow the sample, and cost what they seem to gain."""

FACTORS = np.geomspace(1 / 16, 16, 33)
"""What the weight of a class may be multiplied by in one step."""


def choose_weights(
    probability: NDArray[np.float64], label: NDArray[np.int64], objective: Objective
) -> list[float] | None:
    """Return the weights of the classes (C,), None where the most probable class is best.

    The weight of one class is changed at a time, always where that gains most, until no change gains
    `GAIN_MIN`.

    Parameters
    ----------
    probability, label
        Calibrated probabilities (N, C) and true classes (N,) of calibration stars.

    Examples
    --------
    >>> doubtful = np.array([[0.6, 0.4], [0.9, 0.1]])
    >>> choose_weights(doubtful, np.array([1, 0]), "macro_f1")
    [0.125, 1.0]
    """
    if objective == ARGMAX:
        return None
    n_classes = probability.shape[1]

    def measured(weights: NDArray[np.float64]) -> float:
        named = decided(probability, weights)
        counts = np.bincount(label * n_classes + named, minlength=n_classes**2)
        return MEASURES[objective](counts.reshape(n_classes, n_classes))

    weights = np.ones(n_classes)
    reached = measured(weights)
    while True:
        steps = [
            np.where(np.arange(n_classes) == each, weights * factor, weights)
            for each in range(n_classes)
            for factor in FACTORS
        ]
        results = [measured(step) for step in steps]
        best = int(np.argmax(results))
        if results[best] <= reached + GAIN_MIN:
            break
        reached, weights = results[best], steps[best]
    return None if (weights == 1.0).all() else [round(float(each), 6) for each in weights / weights.max()]


def _macro_f1(confusion: NDArray[np.int64]) -> float:
    true, named = confusion.sum(axis=1), confusion.sum(axis=0)
    f1 = 2 * np.diag(confusion) / np.maximum(true + named, 1)
    return float(f1[true > 0].mean())


def _balanced_accuracy(confusion: NDArray[np.int64]) -> float:
    true = confusion.sum(axis=1)
    return float((np.diag(confusion)[true > 0] / true[true > 0]).mean())


MEASURES: Mapping[str, Callable[[NDArray[np.int64]], float]] = MappingProxyType(
    {"macro_f1": _macro_f1, "balanced_accuracy": _balanced_accuracy}
)
