# SPDX-License-Identifier: BSD-3-Clause
"""Kernels that order numbers: medians, and sorting by several keys.

Importing this takes a second of its own, for numba.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.kernels import kernel

__all__ = ["median", "sort_by_keys"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Number = Any
"""A number of a kernel: numpy's in plain Python, 64 bits once compiled."""


@kernel
def median(values: FloatArray) -> Number:
    """Return the median, 0 of nothing; puts the values in another order (Hoare's selection)."""
    n = len(values)
    if n == 0:
        return 0.0
    middle, low, high = n // 2, 0, n - 1
    while low < high:
        pivot, left, right = values[(low + high) // 2], low, high
        while left <= right:
            while values[left] < pivot:
                left += 1
            while values[right] > pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if middle <= right:
            high = right
        elif middle >= left:
            low = left
        else:
            break
    upper = values[middle]
    lower = upper
    if n % 2 == 0:
        lower = values[0]
        for place in range(1, middle):
            lower = max(lower, values[place])
    return lower / 2 + upper / 2


@kernel
def sort_by_keys(order: IntArray, keys: FloatArray) -> None:
    """Sort the numbers of some lines by the keys of these, of equal ones the lower first (Shell)."""
    place = 1
    while place < len(order) and not _is_behind(order[place - 1], order[place], keys):
        place += 1
    gap = len(order) // 2 if place < len(order) else 0  # most come in order
    while gap > 0:
        for place in range(gap, len(order)):
            line, at = order[place], place
            while at >= gap and _is_behind(order[at - gap], line, keys):
                order[at] = order[at - gap]
                at -= gap
            order[at] = line
        gap = 1 if gap == 2 else gap * 5 // 11


@kernel
def _is_behind(one: Number, other: Number, keys: FloatArray) -> Number:
    for key in range(keys.shape[1]):
        if keys[one, key] != keys[other, key]:
            return keys[one, key] > keys[other, key]
    return one > other
