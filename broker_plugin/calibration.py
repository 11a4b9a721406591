# SPDX-License-Identifier: BSD-3-Clause
"""Scores to statements: calibrated probabilities, conformal sets and p-values."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["class_sets", "nightly_rate", "p_value", "p_value_of_one", "softmax"]

FloatArray = NDArray[np.floating]


def p_value(score: FloatArray, calibration: FloatArray) -> NDArray[np.float64]:
    """Return the conformal p-value: how rare a score this strange is among ordinary objects.

    The smallest possible value is 1 / (n + 1): a calibration of n objects cannot say more (Vovk et al. 2005).
    In a tie the calibration's object counts as just as strange, so that ties make p-values larger.

    Parameters
    ----------
    score
        Anomaly scores, larger is stranger, shape (B,).
    calibration
        Sorted scores of n held-out ordinary objects.

    Examples
    --------
    >>> p_value(np.array([9.0, 2.0]), np.array([1.0, 2.0, 3.0]))
    array([0.25, 0.75])
    """
    n = len(calibration)
    at_least = n - np.searchsorted(calibration, score, side="left")
    return np.asarray((1.0 + at_least) / (n + 1.0), np.float64)


def p_value_of_one(score: float, calibration: Sequence[float]) -> float:
    """Return what `p_value` returns, for one score: faster where each has another calibration.

    Examples
    --------
    >>> p_value_of_one(9.0, [1.0, 2.0, 3.0]), p_value_of_one(2.0, [1.0, 2.0, 3.0])
    (0.25, 0.75)
    """
    n = len(calibration)
    return (1.0 + (n - bisect_left(calibration, score))) / (n + 1.0)


def nightly_rate(p_value: float, n: int, nightly_alerts: float | None) -> float | None:
    """Return how many alerts a night are this strange, or None where a calibration of n cannot tell.

    At the smallest p-value nothing in the calibration was as strange: the rate is anything below, and no law
    of the tail is assumed to say how far below.

    Examples
    --------
    >>> nightly_rate(0.01, 999, 2e5), nightly_rate(0.001, 999, 2e5), nightly_rate(0.01, 999, None)
    (2000.0, None, None)
    """
    at_limit = p_value * (n + 1) <= 1.0 + 1e-9  # one rounding of the quotient that made it
    return None if at_limit or nightly_alerts is None else p_value * nightly_alerts


def softmax(logits: FloatArray, temperature: FloatArray) -> NDArray[np.float64]:
    """Return probabilities that sum to 1 from logits (B, C) and a temperature for each row (B,).

    Examples
    --------
    >>> softmax(np.array([[0.0, 0.0]]), np.array([2.0]))
    array([[0.5, 0.5]])
    """
    scaled = logits.astype(np.float64) / temperature[:, None]
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float64)


def class_sets(probabilities: FloatArray, threshold: FloatArray) -> list[list[int]]:
    """Return the positions of the classes in each row's conformal set, the most probable first.

    Parameters
    ----------
    probabilities
        Shape (B, C).
    threshold
        Least probability of a member, shape (B,).

    Examples
    --------
    >>> class_sets(np.array([[0.2, 0.7, 0.1], [0.4, 0.2, 0.4]]), np.array([0.15, 0.5]))
    [[1, 0], []]
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    sizes = (probabilities >= threshold[:, None]).sum(axis=1)
    return [members[:size] for members, size in zip(order.tolist(), sizes.tolist(), strict=True)]
