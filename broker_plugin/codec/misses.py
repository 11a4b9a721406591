# SPDX-License-Identifier: BSD-3-Clause
"""What was asked for in vain a moment ago, so that a stream of such questions costs one a minute."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["RecentMisses"]

KEEP_S = 60.0
"""How long a miss counts, be it an id that nobody knows or a registry's silence. Longer, and a schema that
was registered too late is refused for so long; shorter, and the registry is asked more often than it needs to
be."""

MISSES_MAX = 1000
"""Junk that looks framed may hold any of four billion ids."""


class RecentMisses:
    """Remembers ids for a minute, the last thousand of them.

    Parameters
    ----------
    now
        The time in s.

    Examples
    --------
    >>> misses = RecentMisses(now=iter([0.0, 59.0, 61.0]).__next__)
    >>> misses.add(7)
    >>> 7 in misses, 7 in misses
    (True, False)
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._until: OrderedDict[int, float] = OrderedDict()

    def add(self, number: int) -> None:
        """Remember an id from now on."""
        self._until.pop(number, None)
        self._until[number] = self._now() + KEEP_S
        if len(self._until) > MISSES_MAX:
            self._until.popitem(last=False)

    def __contains__(self, number: int) -> bool:
        until = self._until.get(number)
        return until is not None and self._now() < until

    def __len__(self) -> int:
        return len(self._until)
