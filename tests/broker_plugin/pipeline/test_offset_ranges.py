# SPDX-License-Identifier: BSD-3-Clause
"""Ranges of offsets do what sets of numbers do."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.pipeline.offset_ranges import OffsetRanges

pairs = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8)


def members(ranges: OffsetRanges) -> set[int]:
    return {offset for first, last in ranges for offset in range(first, last + 1)}


def expected(given_ranges: list[tuple[int, int]]) -> set[int]:
    return {offset for first, last in given_ranges for offset in range(first, last + 1)}


@given(one=pairs, other=pairs)
def test_they_are_sets(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    a, b = OffsetRanges.of(one), OffsetRanges.of(other)
    first, second = expected(one), expected(other)
    assert members(a) == first
    assert len(a) == len(first)
    assert members(a | b) == first | second
    assert members(a - b) == first - second
    assert members(a & b) == first & second
    assert {offset for offset in range(42) if offset in a} == first


@given(one=pairs, other=pairs)
def test_one_set_has_one_form(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    a, b = OffsetRanges.of(one), OffsetRanges.of(other)
    for made in (a, a | b, a - b, a & b, OffsetRanges.of_offsets(members(a))):
        assert made == OffsetRanges.of_offsets(members(made))
        assert all(last + 1 < first for (_, last), (first, _) in pairwise(made.ranges))
