# SPDX-License-Identifier: BSD-3-Clause
"""The shares that classes have in training: between their natural ones and equal ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["tempered"]


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
