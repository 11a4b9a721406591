# SPDX-License-Identifier: BSD-3-Clause
"""Kernels that order numbers: medians, and sorting by several keys.

Importing this takes a second of its own, for numba.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.kernels import kernel

__all__ = ["median", "sort", "sort_by_keys"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Number = Any
"""A number of a kernel: numpy's in plain Python, 64 bits once compiled."""

FEW = 16
"""So many are ordered one by one."""

MOST_PARTS = 64
"""Parts that wait to be sorted: the longer of two waits, so that there are no more than bits in a length."""


@kernel
def median(values: FloatArray) -> Number:
    """Return the median, 0 of nothing; puts the values in another order (quickselect)."""
    n = len(values)
    if n == 0:
        return 0.0
    middle = n // 2
    _select(values, middle)
    upper = values[middle]
    lower = upper
    if n % 2 == 0:
        lower = values[0]
        for place in range(1, middle):
            lower = max(lower, values[place])
    return lower / 2 + upper / 2


@kernel
def sort(values: FloatArray) -> None:
    """Sort numbers (quicksort); compiling numpy's takes seconds."""
    begins, ends = np.empty(MOST_PARTS, np.int64), np.empty(MOST_PARTS, np.int64)
    begins[0], ends[0], n_parts = 0, len(values), 1
    while n_parts > 0:
        n_parts -= 1
        low, high = begins[n_parts], ends[n_parts]
        while high - low > FEW:
            left, right = _part(values, low, high)
            if left == low and right == low:
                break
            if left - low > high - right:
                begins[n_parts], ends[n_parts], low = low, left, right
            else:
                begins[n_parts], ends[n_parts], high = right, high, left
            n_parts += 1
        _insert(values, low, high)


@kernel
def _select(values: FloatArray, rank: Number) -> None:
    """Put the value of a rank in its place, none that is larger before it and none that is less behind."""
    low, high = 0, len(values)
    while high - low > FEW:
        left, right = _part(values, low, high)
        if left <= rank < right or (left == low and right == low):
            break
        if rank < left:
            high = left
        else:
            low = right
    if high - low <= FEW or not left <= rank < right:
        _insert(values, low, high)


@kernel
def _part(values: FloatArray, low: Number, high: Number) -> tuple[Number, Number]:
    """Part values by one of them; return where those that equal it begin and end, both `low` for NaN.

    Without branches (Lomuto): which side a value goes to cannot be foreseen.
    """
    first, middle, last = values[low], values[(low + high) // 2], values[high - 1]
    pivot = max(min(first, middle), min(max(first, middle), last))
    left = low
    for place in range(low, high):
        value = values[place]
        values[place] = values[left]
        values[left] = value
        left += value < pivot
    right = left
    for place in range(left, high):
        value = values[place]
        values[place] = values[right]
        values[right] = value
        right += value == pivot
    return left, right


@kernel
def _insert(values: FloatArray, low: Number, high: Number) -> None:
    for place in range(low + 1, high):
        value, at = values[place], place
        while at > low and values[at - 1] > value:
            values[at] = values[at - 1]
            at -= 1
        values[at] = value


@kernel
def sort_by_keys(order: IntArray, keys: FloatArray) -> None:
    """Sort the numbers of some lines by the keys of these, of equal ones the lower first.

    By merging what is in order already (natural merge sort): histories come as two or three such runs.
    """
    if len(order) <= FEW:
        _insert_by_keys(order, keys)
        return
    ends = np.empty(len(order) + 1, np.int64)
    n_runs = 0
    ends[0] = 0
    for place in range(1, len(order) + 1):
        if place == len(order) or _is_behind(order[place - 1], order[place], keys):
            n_runs += 1
            ends[n_runs] = place
    buffer = np.empty(len(order) if n_runs > 1 else 0, np.int64)
    while n_runs > 1:
        n_merged = 0
        for run in range(0, n_runs, 2):
            if run + 1 < n_runs:
                _merge(order[ends[run] : ends[run + 2]], ends[run + 1] - ends[run], keys, buffer)
            n_merged += 1
            ends[n_merged] = ends[min(run + 2, n_runs)]
        n_runs = n_merged


@kernel
def _merge(order: IntArray, n: Number, keys: FloatArray, buffer: IntArray) -> None:
    """Merge the first n numbers, which are in order, with the others, which are too."""
    for place in range(n):
        buffer[place] = order[place]
    mine, theirs, place = 0, n, 0
    while mine < n:
        if theirs < len(order) and _is_behind(buffer[mine], order[theirs], keys):
            order[place] = order[theirs]
            theirs += 1
        else:
            order[place] = buffer[mine]
            mine += 1
        place += 1


@kernel
def _insert_by_keys(order: IntArray, keys: FloatArray) -> None:
    for place in range(1, len(order)):
        line, at = order[place], place
        while at > 0 and _is_behind(order[at - 1], line, keys):
            order[at] = order[at - 1]
            at -= 1
        order[at] = line


@kernel
def _is_behind(one: Number, other: Number, keys: FloatArray) -> Number:
    for key in range(keys.shape[1]):
        if keys[one, key] != keys[other, key]:
            return keys[one, key] > keys[other, key]
    return one > other
