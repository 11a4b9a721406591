# SPDX-License-Identifier: BSD-3-Clause
"""The shares that classes have in training: between their natural ones and equal ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_classes", "tempered"]


def tempered(count: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the shares that classes of these numbers have in training: as the square root of the number.

    With equal shares the rarest class is seen a hundred times a star and learned by heart, with natural ones
    it is hardly seen at all.

    Examples
    --------
    >>> tempered(np.array([100, 0, 1])).round(2)
    array([0.91, 0.  , 0.09])
    """
    root = np.sqrt(count.astype(np.float64))
    return root / max(float(root.sum()), 1e-12)


def draw_classes(
    label: NDArray[np.int64], share: NDArray[np.float64], n: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return `n` rows, with repetition: classes in given shares, each row of one as likely as its others.

    Parameters
    ----------
    label
        Class of each row, from 0; every row has one.
    share
        Shares (C,) of the classes. Not of what is drawn from but of the stars behind it: where some classes
        have more rows a star than others, the rows do not tell how frequent they are.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> rows = draw_classes(np.array([0] * 100 + [1]), tempered(np.array([100, 1])), 1100, rng)
    >>> 70 < int((rows == 100).sum()) < 130
    True
    """
    count = np.bincount(label)
    chance = (share[: len(count)] / np.maximum(count, 1))[label]
    return rng.choice(len(label), n, p=chance / chance.sum())
