# SPDX-License-Identifier: BSD-3-Clause
"""Statistics of ragged columns: medians, minima and counts of groups, without a loop over the groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["band_groups", "row_of", "segment_max", "segment_median", "segment_min"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def row_of(offsets: IntArray) -> IntArray:
    """Return for every element of a ragged column the row that it belongs to.

    Examples
    --------
    >>> row_of(np.array([0, 2, 2, 3]))
    array([0, 0, 2])
    """
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def band_groups(
    row: IntArray, band: NDArray[np.int8], apparent: NDArray[np.bool_]
) -> tuple[IntArray, IntArray]:
    """Group the epochs of equal row, band and kind of flux.

    Returns
    -------
    group, group_row
        The group of each epoch, and the row of each group; groups are in order of row.

    Examples
    --------
    >>> band_groups(np.array([0, 0, 1]), np.array([1, 2, 1], np.int8), np.array([True, True, True]))
    (array([0, 1, 2]), array([0, 0, 1]))
    """
    key = (row * 256 + (band.astype(np.int64) + 128)) * 2 + apparent
    keys, group = np.unique(key, return_inverse=True)
    return group.astype(np.int64), keys // 512


def segment_median(values: FloatArray, segment: IntArray, n_segments: int) -> FloatArray:
    """Return the median of the values of each segment, 0 where a segment has none.

    Examples
    --------
    >>> segment_median(np.array([3.0, 1.0, 2.0, 5.0]), np.array([0, 0, 0, 2]), 3)
    array([2., 0., 5.])
    """
    count = np.bincount(segment, minlength=n_segments)
    ordered = values[np.lexsort((values, segment))]
    start = np.cumsum(count) - count
    filled = np.flatnonzero(count)
    lower = ordered[start[filled] + (count[filled] - 1) // 2]
    upper = ordered[start[filled] + count[filled] // 2]
    median = np.zeros(n_segments)
    median[filled] = lower / 2 + upper / 2
    return median


def segment_min(values: FloatArray, segment: IntArray, n_segments: int, *, default: float) -> FloatArray:
    """Return the least value of each segment, `default` where a segment has none.

    Examples
    --------
    >>> segment_min(np.array([3.0, 1.0]), np.array([1, 1]), 2, default=9.0)
    array([9., 1.])
    """
    least = np.full(n_segments, np.inf)
    np.minimum.at(least, segment, values)
    return np.where(np.isin(np.arange(n_segments), segment), least, default)


def segment_max(values: FloatArray, segment: IntArray, n_segments: int, *, default: float) -> FloatArray:
    """Return the largest value of each segment, `default` where a segment has none."""
    return -segment_min(-values, segment, n_segments, default=-default)
