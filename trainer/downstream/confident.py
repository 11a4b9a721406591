# SPDX-License-Identifier: BSD-3-Clause
"""Confident learning: which labels contradict probabilities that were made without them.

After Northcutt, Jiang and Chuang (2021, Journal of Artificial Intelligence Research 70, 1373). A class's
threshold is the mean probability that its members get for it; an object that reaches the threshold of another
class than its label's, and of none more probably, is a candidate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

__all__ = ["FOLDS", "MEMBERS_MIN", "Audit", "audit_labels", "centroid_distance", "cross_fitted"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FOLDS = 5
"""Each label is judged by a classifier of the other four fifths."""

MEMBERS_MIN = 2 * FOLDS
"""A class with fewer labels is missing from some fold, or learned from next to nothing."""

REGULARISATION = 0.01
"""Inverse strength of the penalty, for standardised vectors. On Catalina's test stars it is the best of
0.003, 0.01 and 0.03 for 724 hand-made features; with 128 embedded ones the log-loss is within 6 % from 0.003
to 1."""

ITERATIONS_MAX = 2000
"""Of the solver, which needs a few hundred at most on some thousand embeddings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What an audit says of each label, columns over objects (N,).

    Parameters
    ----------
    self_confidence
        Probability of the given label.
    margin
        That less the largest probability of another label: the lower, the more doubtful.
    suggested
        The most probable other label, as a code.
    candidate
        Whether the object is confidently of another class.
    joint
        Estimated share of objects by given (row) and true (column) label, (C, C); sums to 1.
    """

    self_confidence: FloatArray
    margin: FloatArray
    suggested: IntArray
    candidate: NDArray[np.bool_]
    joint: FloatArray

    @property
    def error_rate(self) -> float:
        """Estimated share of labels that are wrong."""
        return float(1.0 - np.trace(self.joint))

    def order(self) -> NDArray[np.intp]:
        """Return the rows, the most doubtful label first."""
        return np.argsort(self.margin, kind="stable")


def cross_fitted(
    vectors: NDArray[np.floating], given: IntArray, group: NDArray[np.int64], *, seed: int
) -> FloatArray:
    """Return class probabilities (N, C) by logistic regressions that saw neither the label nor the object.

    Parameters
    ----------
    vectors
        Frozen embeddings, or features, (N, D).
    given
        Labels as codes from 0 without gaps, each with `MEMBERS_MIN` members or more.
    group
        Rows of one object share a fold.
    """
    probability = np.zeros((len(given), int(given.max()) + 1))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(vectors, given, group):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=ITERATIONS_MAX))
        model.fit(vectors[train], given[train])
        probability[np.ix_(test, model.classes_)] = model.predict_proba(vectors[test])
    return probability


def audit_labels(probability: FloatArray, given: IntArray) -> Audit:
    """Return the audit of labels from probabilities that were made without them.

    Examples
    --------
    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.0, 1.0]])
    >>> audit_labels(p, np.array([0, 0, 0, 1, 1])).candidate
    array([False, False,  True, False, False])
    """
    n, n_classes = probability.shape
    rows = np.arange(n)
    own = probability[rows, given]
    counts = np.bincount(given, minlength=n_classes)
    threshold = np.bincount(given, weights=own, minlength=n_classes) / np.maximum(counts, 1)
    reached = np.where((probability >= threshold) & (counts > 0), probability, -1.0)
    confident = reached.argmax(axis=1)
    sure = reached.max(axis=1) >= 0
    others = probability.copy()
    others[rows, given] = -1.0
    suggested = others.argmax(axis=1)
    candidate = sure & (confident != given)
    return Audit(
        self_confidence=own,
        margin=own - others.max(axis=1),
        suggested=np.where(candidate, confident, suggested).astype(np.int64),
        candidate=candidate,
        joint=_joint(given[sure], confident[sure], counts),
    )


def centroid_distance(
    vectors: NDArray[np.floating], given: IntArray, group: NDArray[np.int64], *, seed: int
) -> FloatArray:
    """Return 1 - cosine between unit embeddings and the centroid of their own label: the paper's finder.

    The centroid is of the other folds, as the paper's is of the training split.
    """
    distance = np.zeros(len(given))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(vectors, given, group):
        sums = np.stack(
            [vectors[train][given[train] == each].sum(axis=0) for each in range(int(given.max()) + 1)]
        )
        centroid = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        distance[test] = 1.0 - np.einsum("nd,nd->n", vectors[test], centroid[given[test]])
    return distance


def _joint(given: IntArray, confident: NDArray[np.intp], counts: NDArray[np.int64]) -> FloatArray:
    """Return the confident counts, each row scaled to its label's share of all objects."""
    joint = np.zeros((len(counts), len(counts)))
    np.add.at(joint, (given, confident), 1.0)
    empty = joint.sum(axis=1) == 0
    # Of a label with no confident member nothing is known: it is taken at its word.
    joint[np.diag_indices_from(joint)] += empty
    scaled = joint / joint.sum(axis=1, keepdims=True) * counts[:, None]
    return np.asarray(scaled / scaled.sum(), np.float64)
