# SPDX-License-Identifier: BSD-3-Clause
"""The shares that classes have in training: between their natural ones and equal ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_tempered", "tempered"]


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


def draw_tempered(label: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `n` rows, with repetition: classes in the shares of `tempered`, each row of one as likely.

    Examples
    --------
    >>> rows = draw_tempered(np.array([0] * 100 + [1]), 1100, np.random.default_rng(1))
    >>> 70 < int((rows == 100).sum()) < 130
    True
    """
    count = np.bincount(label)
    chance = (tempered(count) / np.maximum(count, 1))[label]
    return rng.choice(len(label), n, p=chance / chance.sum())
