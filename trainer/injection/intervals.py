# SPDX-License-Identifier: BSD-3-Clause
"""Shares of a sample, with the interval that its size leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest  # type: ignore[import-untyped]

__all__ = ["CONFIDENCE", "interval_of", "share_of"]

CONFIDENCE = 0.9
"""Of all intervals."""


def share_of(found: NDArray[np.bool_]) -> dict[str, Any] | None:
    """Return the share that was found and its interval; None of nothing.

    Examples
    --------
    >>> share_of(np.array([True, False]))["share"], share_of(np.zeros(0, bool))
    (0.5, None)
    """
    return {"share": float(found.mean()), "interval": interval_of(found)} if len(found) else None


def interval_of(found: NDArray[np.bool_]) -> list[float]:
    """Return Wilson's interval of a share.

    Examples
    --------
    >>> [round(end, 2) for end in interval_of(np.array([True, False]))]
    [0.12, 0.88]
    """
    test = binomtest(int(found.sum()), len(found))
    low, high = test.proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return [float(low), float(high)]
