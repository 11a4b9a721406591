# SPDX-License-Identifier: BSD-3-Clause
"""Measures of a sample of stars and of its bootstrap resamples at once.

A resample is how often each star is in it; the first one has every star once, so its measure is the sample's
own. All measures are sums weighted by these numbers. Two classifiers that are measured on the same resamples
are compared star by star: the spread of the difference is that of a paired bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.metrics import bin_of_confidence

__all__ = [
    "Interval",
    "areas",
    "calibration_chances",
    "calibration_errors",
    "class_measures",
    "interval_of",
    "resamples",
]

FloatArray = NDArray[np.float64]

RESAMPLES = 1000
"""Enough to know the ends of a 95 % interval to about a twentieth of its length."""

TAIL = 0.025
"""What lies beyond either end of an interval."""

BLOCK = 100
"""Resamples whose ranks are summed at once; more would fill the memory with partial sums."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A measure of the sample, and its 95 % interval."""

    value: float
    low: float
    high: float


def resamples(n: int, *, seed: int, count: int = RESAMPLES) -> FloatArray:
    """Return how often each of `n` stars is in the sample and in each resample, shape (1 + count, n).

    Examples
    --------
    >>> resamples(3, seed=1, count=2).sum(axis=1)
    array([3., 3., 3.])
    """
    rng = np.random.default_rng((seed, n))
    drawn = rng.multinomial(n, np.full(n, 1.0 / n), size=count) if n else np.zeros((count, 0))
    return np.concatenate([np.ones((1, n)), drawn]).astype(np.float64)


def interval_of(values: FloatArray, *, chances: FloatArray | None = None) -> Interval | None:
    """Return the interval of a measure's values over `resamples`; None where the sample has none.

    Parameters
    ----------
    chances
        How far each resample may be off by chance. The interval is then the sample's value, less and more
        what all but `2 * TAIL` of them stay below, in place of percentiles.
    """
    if not np.isfinite(values[0]):
        return None
    low, high = np.nanquantile(values[1:], [TAIL, 1 - TAIL]) if len(values) > 1 else (values[0], values[0])
    if chances is not None and len(values) > 1:
        bound = np.nanquantile(chances[1:], 1 - 2 * TAIL)
        low, high = values[0] - bound, values[0] + bound
    return Interval(value=float(values[0]), low=float(low), high=float(high))


def class_measures(
    weights: FloatArray, truth: NDArray[np.int64], named: NDArray[np.int64], *, n_classes: int
) -> dict[str, FloatArray]:
    """Return accuracy, macro-F1, balanced accuracy, and F1 by class (R, C), of each resample (R,).

    Means over classes are over those that a resample has.

    Parameters
    ----------
    truth, named
        True and named class of each star (S,); the named one may be -1 for none of them.
    """
    pair = truth * (n_classes + 1) + named + 1
    indicator = np.zeros((len(truth), n_classes * (n_classes + 1)))
    indicator[np.arange(len(truth)), pair] = 1.0
    confusion = (weights @ indicator).reshape(len(weights), n_classes, n_classes + 1)
    right = np.stack([confusion[:, k, k + 1] for k in range(n_classes)], axis=1)
    true, said = confusion.sum(axis=2), confusion.sum(axis=1)[:, 1:]
    absent = true == 0
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(absent, np.nan, 2 * right / (true + said))
        recall = np.where(absent, np.nan, right / true)
        accuracy = right.sum(axis=1) / true.sum(axis=1)
    return {
        "accuracy": accuracy,
        "macro_f1": _mean_of_known(f1),
        "balanced_accuracy": _mean_of_known(recall),
        "f1_by_class": f1,
    }


def calibration_errors(weights: FloatArray, probability: FloatArray, truth: NDArray[np.int64]) -> FloatArray:
    """Return the expected calibration error of each resample (R,).

    Chance adds to it, and to that of a resample once more: its interval needs `calibration_chances`, since by
    percentiles no probabilities would ever be right.
    """
    return _quotient(np.abs(_gaps(weights, probability, truth)).sum(axis=1), weights.sum(axis=1))


def calibration_chances(weights: FloatArray, probability: FloatArray, truth: NDArray[np.int64]) -> FloatArray:
    """Return how far the calibration error of each resample may be from the sample's at most (R,).

    That is the mean difference of the bins' gaps between confidence and accuracy. The sample's gaps differ
    from the true ones as a resample's do from the sample's, so an interval from it covers the true error as
    often as it says, and mostly oftener.
    """
    gaps, n = _gaps(weights, probability, truth), weights.sum(axis=1)
    shift = gaps / np.maximum(n, 1)[:, None] - gaps[0] / max(n[0], 1)
    return np.asarray(np.abs(shift).sum(axis=1))


def _gaps(weights: FloatArray, probability: FloatArray, truth: NDArray[np.int64]) -> FloatArray:
    """Return the sums of confidence less accuracy in each bin of each resample (R, bins)."""
    confidence, right = probability.max(axis=1), probability.argmax(axis=1) == truth
    bin_ = bin_of_confidence(confidence)
    gap = np.zeros((len(truth), int(bin_.max(initial=0)) + 1))
    gap[np.arange(len(truth)), bin_] = confidence - right
    return np.asarray(weights @ gap)


def areas(weights: FloatArray, score: FloatArray, odd: NDArray[np.bool_]) -> FloatArray:
    """Return the area under the ROC curve of each resample (R,): odd stars against the others.

    Ties count half, as in the Mann-Whitney statistic.
    """
    level, position = np.unique(score, return_inverse=True)
    order = np.argsort(position, kind="stable")
    starts = np.searchsorted(position[order], np.arange(len(level)))
    return np.concatenate(
        [
            _areas(weights[first : first + BLOCK][:, order], odd[order], starts)
            for first in range(0, len(weights), BLOCK)
        ]
    )


def _areas(weights: FloatArray, odd: NDArray[np.bool_], starts: NDArray[np.intp]) -> FloatArray:
    """Return the areas of some resamples, the stars sorted by score; `starts` is where each level begins."""
    if not len(starts):
        return np.full(len(weights), np.nan)
    of_odd = np.add.reduceat(weights * odd, starts, axis=1)
    of_others = np.add.reduceat(weights * ~odd, starts, axis=1)
    below = np.cumsum(of_others, axis=1) - of_others / 2
    pairs = of_odd.sum(axis=1) * of_others.sum(axis=1)
    return _quotient((of_odd * below).sum(axis=1), pairs)


def _mean_of_known(values: FloatArray) -> FloatArray:
    known = np.isfinite(values)
    return _quotient(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1))


def _quotient(part: FloatArray, whole: NDArray[Any]) -> FloatArray:
    """Return one over the other, NaN over nothing."""
    quotient: FloatArray = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return quotient
