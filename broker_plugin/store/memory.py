# SPDX-License-Identifier: BSD-3-Clause
"""A store in the memory of this process, gone with it: for replays, notebooks and tests."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from broker_plugin.store.base import Change, tag_of

__all__ = ["MemoryStore"]

NEVER = float("inf")


class MemoryStore:
    """Values in a dictionary; the least recently written go when they are too many.

    Parameters
    ----------
    max_bytes
        Most bytes of keys and values.
    clock
        Seconds since any moment.

    Examples
    --------
    >>> store = MemoryStore(max_bytes=1000)
    >>> store.swap([Change(key="a", value=b"12345678 one", seen=b"", ttl_s=None)])
    [True]
    >>> store.fetch(["a", "b"])
    [b'12345678 one', None]
    """

    def __init__(self, *, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._values: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0

    def check(self) -> str:
        """Return what answers."""
        return "memory of this process, gone when it ends"

    def fetch(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key."""
        now = self._clock()
        return [self._held(key, now) for key in keys]

    def swap(self, changes: Sequence[Change]) -> list[bool]:
        """Write each value whose key still holds what was seen."""
        now = self._clock()
        done = [self._write(change, now) for change in changes]
        self._make_room()
        return done

    def close(self) -> None:
        """Do nothing."""

    def _held(self, key: str, now: float) -> bytes | None:
        value, expires = self._values.get(key, (None, NEVER))
        return value if expires > now else None

    def _write(self, change: Change, now: float) -> bool:
        if tag_of(self._held(change.key, now)) != change.seen:
            return False
        self._drop(change.key)
        self._values[change.key] = change.value, NEVER if change.ttl_s is None else now + change.ttl_s
        self._bytes += len(change.key) + len(change.value)
        return True

    def _make_room(self) -> None:
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._values)))

    def _drop(self, key: str) -> None:
        value, _ = self._values.pop(key, (None, NEVER))
        if value is not None:
            self._bytes -= len(key) + len(value)
