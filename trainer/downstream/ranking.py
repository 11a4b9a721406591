# SPDX-License-Identifier: BSD-3-Clause
"""Anomaly ranking by isolation forests over embeddings: a global one, and one for each class, side by side.

With class forests the score is the least over them (MCIF, Gupta et al. 2024, RASTI 4, rzae054). Forests,
calibration and ranked objects are three different parts of the objects, in turn, so that every object is
ranked and none has shaped its own p-value. The scores of two turns are of different forests: objects are
ordered by p-value, and by score only where that is equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.calibration import p_value
from trainer.anomaly import fit_by_class
from trainer.stream.objects import deal
from trainer.stream.pooling import STRATUM_MIN

__all__ = ["CLASS_MIN", "PARTS", "Ranked", "Ranking", "rank_objects"]

FloatArray = NDArray[np.float64]

PARTS = 5
"""Three parts grow the forests, one calibrates, one is ranked."""

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
    n = len(vectors)
    score, p = np.zeros((n, 2)), np.ones((n, 2))
    nearest, basis_n = np.full(n, -1, np.int64), np.zeros(n, np.int64)
    basis = np.full(n, "", object)
    without: set[int] = set()
    for turn in range(PARTS):
        ranked = np.flatnonzero(part == turn)
        calibrating = np.flatnonzero((part == (turn + 1) % PARTS) & ordinary)
        growing = np.flatnonzero(~np.isin(part, (turn, (turn + 1) % PARTS)) & ordinary)
        counts = np.bincount(label[growing], minlength=int(label.max(initial=-1)) + 1)
        classes = np.flatnonzero(counts >= CLASS_MIN)
        without |= set(np.unique(label[ordinary]).tolist()) - set(classes.tolist())
        forests = fit_by_class(vectors[growing], label[growing], classes.tolist(), seed=seed + 100 * turn)
        targets, of_calibration = forests.targets(vectors[ranked]), forests.targets(vectors[calibrating])
        score[ranked], calibration = _both(targets), _both(of_calibration)
        if len(classes):
            nearest[ranked] = classes[targets[:, 1:].argmin(axis=1)]
        for name, rows, against in _strata(stratum, ranked, calibrating):
            basis[rows], basis_n[rows] = name, len(against)
            for kind in range(2):
                p[rows, kind] = p_value(score[rows, kind], np.sort(calibration[against, kind]))
    return Ranking(
        of_all=Ranked(score=score[:, 0], p_value=p[:, 0]),
        of_classes=Ranked(score=score[:, 1], p_value=p[:, 1]),
        nearest=nearest,
        stratum=basis.astype(np.str_),
        calibration_n=basis_n,
        without_forest=tuple(sorted(without)),
    )


def _both(targets: FloatArray) -> FloatArray:
    """Return the global score and the least over the classes (the global one without any), (B, 2)."""
    of_classes = targets[:, 1:].min(axis=1) if targets.shape[1] > 1 else targets[:, 0]
    return np.stack([targets[:, 0], of_classes], axis=1)


def _strata(
    stratum: NDArray[np.str_], ranked: NDArray[np.intp], calibrating: NDArray[np.intp]
) -> list[tuple[str, NDArray[np.intp], NDArray[np.intp]]]:
    """Return for each stratum the one it is compared with, the ranked rows, and places among `calibrating`.

    A stratum with fewer than `STRATUM_MIN` objects is widened by what stands behind its last slash, and so on
    to all.
    """
    found = []
    for name in np.unique(stratum[ranked]).tolist():
        wider = name
        inside = stratum[calibrating] == name
        while inside.sum() < STRATUM_MIN and wider:
            wider = wider.rpartition("/")[0]
            prefix = f"{wider}/" if wider else ""
            inside = np.char.startswith(stratum[calibrating], prefix)
        found.append((wider or "all", ranked[stratum[ranked] == name], np.flatnonzero(inside)))
    return found
