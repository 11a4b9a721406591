# SPDX-License-Identifier: BSD-3-Clause
"""Which stars keep their label: nested shares of every class, dealt out by object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["label_order"]


def label_order(
    label: NDArray[np.int64], group: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return from which share on each star (S,) keeps its label: below it, it has none.

    The stars below a share hold that share of each class, one group at least, and those below a larger one
    as well. Stars of one group are the same object under several names and go together, by the class of the
    first; stars without a class never count (infinity).

    Examples
    --------
    >>> order = label_order(np.array([0, 0, 0, 0, 1, -1]), np.arange(6), np.random.default_rng(1))
    >>> sorted(order.tolist())
    [0.0, 0.0, 0.25, 0.5, 0.75, inf]
    """
    known = np.flatnonzero(label >= 0)
    _, first, of_star = np.unique(group[known], return_index=True, return_inverse=True)
    of_group = label[known][first]
    order = np.zeros(len(first))
    for each in np.unique(of_group):
        members = rng.permutation(np.flatnonzero(of_group == each))
        order[members] = np.arange(len(members)) / len(members)
    result = np.full(len(label), np.inf)
    result[known] = order[of_star]
    return result
