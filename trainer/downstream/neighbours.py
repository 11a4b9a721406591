# SPDX-License-Identifier: BSD-3-Clause
"""Nearest neighbours, and how often they are of the same class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

__all__ = ["Neighbours", "chance_precision", "nearest", "precision"]

Metric = str
"""`cosine` or `euclidean`."""

Neighbours = tuple[NDArray[np.intp], NDArray[np.float64]]
"""Rows (Q, n) by rising distance, and the distances."""


def nearest(
    vectors: NDArray[np.floating],
    group: NDArray[np.int64],
    n: int,
    *,
    queries: NDArray[np.intp] | None = None,
    metric: Metric = "cosine",
) -> Neighbours:
    """Return the `n` nearest rows of each query that are not the same object.

    Parameters
    ----------
    vectors
        Shape (N, D).
    group
        Rows of one group are one object (N,): none is its own neighbour under another name.
    queries
        Rows to be asked for, by default all.

    Examples
    --------
    >>> line = np.array([[0.0], [0.1], [1.0], [3.0]])
    >>> nearest(line, np.array([0, 0, 1, 2]), 1, metric="euclidean")[0].ravel()
    array([2, 2, 1, 2])
    """
    asked = np.arange(len(vectors)) if queries is None else queries
    _, code, size = np.unique(group, return_inverse=True, return_counts=True)
    others = len(vectors) - size[code[asked]]
    if len(asked) == 0 or others.min() < n:
        raise ValueError(f"there are not {n} other objects")
    # Of so many more at most the excess is the query's own object.
    reach = min(len(vectors), n + int(size[code[asked]].max()))
    search = NearestNeighbors(n_neighbors=reach, metric=metric, algorithm="brute").fit(vectors)
    distance, row = search.kneighbors(vectors[asked])
    own = group[row] == group[asked][:, None]
    # A stable sort keeps the order of distance among the others.
    order = np.argsort(own, axis=1, kind="stable")[:, :n]
    return np.take_along_axis(row, order, axis=1), np.take_along_axis(distance, order, axis=1)


def precision(rows: NDArray[np.intp], label: NDArray[np.str_]) -> NDArray[np.float64]:
    """Return the share of each object's neighbours (N, n) that have its label (N,)."""
    return np.asarray((label[rows] == label[:, None]).mean(axis=1), np.float64)


def chance_precision(label: NDArray[np.str_]) -> NDArray[np.float64]:
    """Return the precision of neighbours drawn at random: the share of the label among the others."""
    _, code, count = np.unique(label, return_inverse=True, return_counts=True)
    return np.asarray((count[code] - 1) / (len(label) - 1), np.float64)
