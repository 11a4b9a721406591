# SPDX-License-Identifier: BSD-3-Clause
"""Kernels that order epochs and values: by time, by size, by night.

Importing this takes a second of its own, for numba.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.kernels import kernel

__all__ = ["count_nights", "log", "mean_std", "night", "put_in_order"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Number = Any
"""A number of a kernel: numpy's in plain Python, 64 bits once compiled."""


@kernel
def put_in_order(age_day: FloatArray, group: IntArray, order: IntArray) -> None:
    """Put the epochs group by group, in each from the oldest to the youngest."""
    n_groups = 0
    for epoch in range(len(group)):
        n_groups = max(n_groups, group[epoch] + 1)
    n = 0
    for number in range(n_groups):
        begin, is_sorted = n, True
        for epoch in range(len(age_day)):
            if group[epoch] == number:
                is_sorted = is_sorted and (n == begin or age_day[order[n - 1]] >= age_day[epoch])
                order[n] = epoch
                n += 1
        if not is_sorted:
            _sort_by_age(order[begin:n], age_day)


@kernel
def _sort_by_age(order: IntArray, age_day: FloatArray) -> None:
    """Sort epochs, the oldest first, of equal ones that with the lower number (Shell)."""
    gap = len(order) // 2
    while gap > 0:
        for place in range(gap, len(order)):
            epoch, at = order[place], place
            while at >= gap and (
                age_day[order[at - gap]] < age_day[epoch]
                or (age_day[order[at - gap]] == age_day[epoch] and order[at - gap] > epoch)
            ):
                order[at] = order[at - gap]
                at -= gap
            order[at] = epoch
        gap = 1 if gap == 2 else gap * 5 // 11


@kernel
def night(age_day: Number) -> Number:
    """Return the night of an epoch, counted from that of the alert, which lasts half a day to either side."""
    return math.floor(age_day + 0.5)


@kernel
def count_nights(age_day: FloatArray, order: IntArray) -> Number:
    """Return the number of nights of epochs that are in order."""
    n_nights = 1
    for place in range(1, len(order)):
        n_nights += night(age_day[order[place]]) != night(age_day[order[place - 1]])
    return n_nights


@kernel
def mean_std(values: FloatArray) -> tuple[Number, Number]:
    """Return mean and standard deviation."""
    mean = square = 0.0
    for value in values:
        mean += value / len(values)
    for value in values:
        square += (value - mean) * (value - mean)
    return mean, math.sqrt(square / len(values))


@kernel
def log(value: Number, least: Number) -> Number:
    """Return the decimal logarithm of a number, or of the least that counts."""
    return math.log10(max(value, least))
