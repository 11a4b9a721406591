# SPDX-License-Identifier: BSD-3-Clause
"""Sets of offsets as ranges, so that a night of millions takes a few numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["OffsetRanges"]


@dataclass(frozen=True, slots=True)
class OffsetRanges:
    """Offsets, as ranges that neither touch nor overlap, each its first and its last.

    Examples
    --------
    >>> done = OffsetRanges.of([(0, 4), (7, 9), (5, 5)])
    >>> done, len(done), 6 in done
    (0-5 7-9, 9, False)
    >>> OffsetRanges.of([(0, 9)]) - done
    6
    """

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]]) -> OffsetRanges:
        """Return the union of ranges, in whatever order and however they overlap."""
        joined: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            if last < first:
                continue
            if joined and first <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(joined[-1][1], last))
            else:
                joined.append((first, last))
        return cls(tuple(joined))

    @classmethod
    def of_offsets(cls, offsets: Iterable[int]) -> OffsetRanges:
        """Return the set of single offsets."""
        return cls.of((offset, offset) for offset in offsets)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.ranges)

    def __contains__(self, offset: int) -> bool:
        return any(first <= offset <= last for first, last in self.ranges)

    def __or__(self, other: OffsetRanges) -> OffsetRanges:
        return OffsetRanges.of((*self.ranges, *other.ranges))

    def __sub__(self, other: OffsetRanges) -> OffsetRanges:
        left: list[tuple[int, int]] = []
        taken = list(other.ranges)
        for first, last in self.ranges:
            while taken and taken[0][1] < first:
                taken.pop(0)
            for begin, end in taken:
                if begin > last:
                    break
                left.append((first, begin - 1))
                first = end + 1
            left.append((first, last))
        return OffsetRanges.of(left)

    def __and__(self, other: OffsetRanges) -> OffsetRanges:
        return self - (self - other)

    def __repr__(self) -> str:
        return " ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in self.ranges)
