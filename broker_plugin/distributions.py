# SPDX-License-Identifier: BSD-3-Clause
"""How far samples and distributions are from one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["ks_between", "ks_from_uniform", "population_stability", "rank_correlation"]

FloatArray = NDArray[np.floating]

LEAST_SHARE = 1e-4
"""Stands for a share of nothing, whose logarithm must be finite: one in ten thousand is as good as none."""


def ks_from_uniform(values: FloatArray) -> float:
    """Return the largest distance of a sample's distribution from the uniform one on [0, 1].

    Examples
    --------
    >>> ks_from_uniform(np.array([0.25, 0.75]))
    0.25
    """
    ordered, n = np.sort(values), len(values)
    steps = np.arange(n + 1) / n
    return float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))


def ks_between(one: FloatArray, other: FloatArray) -> float:
    """Return the largest distance between the distributions of two samples.

    Examples
    --------
    >>> ks_between(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    0.5
    """
    places = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(values), places, side="right") / len(values) for values in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def population_stability(shares: FloatArray, reference: FloatArray) -> float:
    """Return the population stability index: 0 for the same shares; 0.1 is little and 0.25 is much.

    It is the sum of the two Kullback-Leibler divergences.

    Examples
    --------
    >>> round(population_stability(np.array([0.5, 0.5]), np.array([0.2, 0.8])), 3)
    0.416
    """
    found, wanted = np.maximum(shares, LEAST_SHARE), np.maximum(reference, LEAST_SHARE)
    return float(((found - wanted) * np.log(found / wanted)).sum())


def rank_correlation(one: FloatArray, other: FloatArray) -> float | None:
    """Return Spearman's rank correlation, ties at their mean rank; None where one is constant.

    Examples
    --------
    >>> round(rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0])), 3)
    0.5
    """
    a, b = (_ranks(values) for values in (one, other))
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / norm if norm > 0 else None


def _ranks(values: FloatArray) -> NDArray[np.float64]:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean = np.cumsum(counts) - (counts - 1) / 2.0
    return np.asarray(mean[group], np.float64)
