# SPDX-License-Identifier: BSD-3-Clause
"""Anomaly ranking by isolation forests over embeddings: a global one, and one for each class, side by side.

With class forests the score is the least over them (MCIF, Gupta et al. 2024, RASTI 4, rzae054). Objects are
dealt into parts, and each part is scored by forests of the others, so no object has shaped its own score. A
p-value counts the objects of the other parts with a score as strange (cross-conformal, Vovk 2015, Annals of
Mathematics and Artificial Intelligence 74, 9): nearly all objects calibrate, at the price that the law is no
longer exact; `trainer rank --measure` says how near it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.calibration import p_value
from trainer.anomaly import fit_by_class
from trainer.stream.objects import deal
from trainer.stream.pooling import STRATUM_MIN

__all__ = ["CLASS_MIN", "Ranked", "Ranking", "rank_objects"]

FloatArray = NDArray[np.float64]

PARTS = 5
"""Parts of the objects: forests are grown on four fifths."""

CLASS_MIN = 20
"""A class with fewer objects to grow a forest on gets none: every member would be a leaf of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """What one kind of forest says, columns over objects (N,): scores, larger is stranger, and p-values."""

    score: FloatArray
    p_value: FloatArray

    def order(self) -> NDArray[np.intp]:
        """Return the rows, the strangest first."""
        return np.lexsort((-self.score, self.p_value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Both rankings.

    Parameters
    ----------
    nearest
        Code of the class whose forest finds the object least strange, -1 without class forests, (N,).
    stratum, calibration_n
        What the p-values were compared with, and how many objects that is, (N,).
    without_forest
        Codes of the classes that had too few members in some turn.
    """

    of_all: Ranked
    of_classes: Ranked
    nearest: NDArray[np.int64]
    stratum: NDArray[np.str_]
    calibration_n: NDArray[np.int64]
    without_forest: tuple[int, ...]


def rank_objects(
    vectors: NDArray[np.float32],
    label: NDArray[np.int64],
    stratum: NDArray[np.str_],
    group: NDArray[np.int64],
    *,
    seed: int,
) -> Ranking:
    """Return both rankings of objects.

    Parameters
    ----------
    vectors
        Embeddings (N, D).
    label
        Code of the class, known or guessed; -1 for what must not shape what is ordinary: neither forest nor
        calibration.
    stratum
        Name of the calibration's stratum, wider parts first in what stands between its slashes.
    group
        Rows of one group share a part.
    """
    part = deal(group, [1.0] * PARTS, seed=seed)
    ordinary = label >= 0
    score, nearest = np.zeros((len(vectors), 2)), np.full(len(vectors), -1, np.int64)
    without: set[int] = set()
    for turn in range(PARTS):
        scored, growing = np.flatnonzero(part == turn), np.flatnonzero((part != turn) & ordinary)
        counts = np.bincount(label[growing], minlength=int(label.max(initial=-1)) + 1)
        classes = np.flatnonzero(counts >= CLASS_MIN)
        without |= set(np.unique(label[ordinary]).tolist()) - set(classes.tolist())
        forests = fit_by_class(vectors[growing], label[growing], classes.tolist(), seed=seed + 100 * turn)
        targets = forests.targets(vectors[scored])
        score[scored] = _both(targets)
        if len(classes):
            nearest[scored] = classes[targets[:, 1:].argmin(axis=1)]
    p, basis, basis_n = _calibrated(score, ordinary, stratum, part)
    return Ranking(
        of_all=Ranked(score=score[:, 0], p_value=p[:, 0]),
        of_classes=Ranked(score=score[:, 1], p_value=p[:, 1]),
        nearest=nearest,
        stratum=basis,
        calibration_n=basis_n,
        without_forest=tuple(sorted(without)),
    )


def _both(targets: FloatArray) -> FloatArray:
    """Return the global score and the least over the classes (the global one without any), (B, 2)."""
    of_classes = targets[:, 1:].min(axis=1) if targets.shape[1] > 1 else targets[:, 0]
    return np.stack([targets[:, 0], of_classes], axis=1)


def _calibrated(
    score: FloatArray, ordinary: NDArray[np.bool_], stratum: NDArray[np.str_], part: NDArray[np.int64]
) -> tuple[FloatArray, NDArray[np.str_], NDArray[np.int64]]:
    """Return p-values (N, 2), the stratum that each is of, and how many objects it was compared with.

    A stratum with fewer than `STRATUM_MIN` of them is widened by what stands behind its last slash, and so on
    to all.
    """
    n = len(score)
    p, basis, basis_n = np.ones((n, 2)), np.full(n, "", object), np.zeros(n, np.int64)
    for turn in range(PARTS):
        others = np.flatnonzero((part != turn) & ordinary)
        for name in np.unique(stratum[part == turn]).tolist():
            rows = np.flatnonzero((part == turn) & (stratum == name))
            wider, inside = name, stratum[others] == name
            while inside.sum() < STRATUM_MIN and wider:
                wider = wider.rpartition("/")[0]
                inside = np.char.startswith(stratum[others], f"{wider}/" if wider else "")
            basis[rows], basis_n[rows] = wider or "all", int(inside.sum())
            for kind in range(2):
                p[rows, kind] = p_value(score[rows, kind], np.sort(score[others[inside], kind]))
    return p, basis.astype(np.str_), basis_n
