# SPDX-License-Identifier: BSD-3-Clause
"""Medians and orders against numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from broker_plugin.ordering import median, sort, sort_by_keys

FloatArray = NDArray[np.float64]

NUMBERS = st.one_of(st.floats(allow_nan=False), st.integers(-3, 3).map(float))
"""Any, and such that are often equal."""

VALUES = hnp.arrays(np.float64, st.integers(1, 300), elements=NUMBERS)


@given(VALUES)
def test_medians_and_sorted_numbers_are_numpys(values: FloatArray) -> None:
    ordered = np.sort(values)
    middle = len(values) // 2
    lower = ordered[middle - 1] if len(values) % 2 == 0 else ordered[middle]
    with np.errstate(all="ignore"):
        expected = lower / 2 + ordered[middle] / 2
    assert np.array_equal(median(values.copy()), expected, equal_nan=True)
    sort(values)
    assert np.array_equal(values, ordered)


@pytest.mark.parametrize("shape", ["rising", "falling", "equal", "organ pipe", "saw"])
def test_numbers_with_a_pattern_are_sorted(shape: str) -> None:
    n = 1000
    values = {
        "rising": np.arange(n),
        "falling": np.arange(n)[::-1],
        "equal": np.ones(n),
        "organ pipe": np.minimum(np.arange(n), np.arange(n)[::-1]),
        "saw": np.arange(n) % 7,
    }[shape].astype(np.float64)
    ordered = np.sort(values)
    assert median(values.copy()) == np.median(values)
    sort(values)
    assert np.array_equal(values, ordered)


@given(hnp.arrays(np.float64, st.integers(1, 100), elements=st.sampled_from([1.0, 2.0, np.nan])))
def test_what_is_no_number_ends_no_loop(values: FloatArray) -> None:
    known = np.sort(values[~np.isnan(values)])
    median(values.copy())
    sort(values)
    assert np.array_equal(np.sort(values[~np.isnan(values)]), known)


@given(st.lists(st.lists(st.integers(0, 9), max_size=40), max_size=5), st.integers(1, 3))
def test_lines_are_sorted_by_their_keys_and_then_by_their_numbers(runs: list[list[int]], width: int) -> None:
    keys = np.array([number for run in runs for number in sorted(run)], np.float64)
    table = np.stack([keys // 4, keys % 4, np.zeros(len(keys))], axis=1)[:, :width].copy()
    order = np.arange(len(keys))
    sort_by_keys(order, table)
    expected = sorted(range(len(keys)), key=lambda line: (*table[line].tolist(), line))
    assert order.tolist() == expected
