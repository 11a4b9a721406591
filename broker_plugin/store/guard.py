# SPDX-License-Identifier: BSD-3-Clause
"""Between the stream and its store: bounds what a slow or absent store can cost.

A call takes `timeout_s` at the most, whatever the store does meanwhile. After a call that failed, or three in
a row that took more than half of that, the store is left alone for a second, then two, four and so on up to
half a minute; each time one call finds out whether it is back. So a store that hangs costs at most
`timeout_s` in each such pause, and in the long run less than 2 % of the time with the default of half a
second.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from broker_plugin.errors import ConfigurationError, StoreError
from broker_plugin.store.base import Change, Store
from broker_plugin.streams.bounded_call import CallAbandonedError, call_within

__all__ = ["GuardedStore"]

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

FIRST_PAUSE_S = 1.0
"""Shorter, and a server that restarts is asked several times for nothing."""

LONGEST_PAUSE_S = 30.0
"""Longer, and alerts go on without their history when the store is long back."""

SLOW_SHARE = 0.5
"""A call that takes more than this share of the timeout is slow."""

SLOW_MAX = 3
"""Slow calls in a row that are put up with: one may be the disk's or the scheduler's."""


class GuardedStore:
    """A store that answers in time or is away.

    Parameters
    ----------
    open_store
        Opens the store; is called again after a call was abandoned, since its connection may still be in use.
    timeout_s
        Longest time of a call.
    clock
        Seconds since any moment.

    Attributes
    ----------
    errors
        Number of calls that failed, by operation: read, write. The first of either opens the store.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        *,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.errors: Counter[str] = Counter()
        self._open_store = open_store
        self._timeout_s = timeout_s
        self._clock = clock
        self._store: Store | None = None
        self._pause_s = FIRST_PAUSE_S
        self._resume_at: float | None = None
        self._slow = 0

    @property
    def away(self) -> bool:
        """Whether the store failed when it was last called."""
        return self._resume_at is not None

    def fetch(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, or raise `StoreError` in time."""
        return self._call("read", lambda store: store.fetch(keys))

    def swap(self, changes: Sequence[Change]) -> list[bool]:
        """Write what still holds what was seen, or raise `StoreError` in time."""
        return self._call("write", lambda store: store.swap(changes))

    def close(self) -> None:
        """Close the store, if it lets itself be closed in time."""
        store, self._store = self._store, None
        if store is not None:
            try:
                call_within(store.close, timeout_s=self._timeout_s, name="store-close")
            except (CallAbandonedError, StoreError) as error:
                log.warning("store_not_closed", why=str(error))

    def _call(self, operation: str, step: Callable[[Store], Result]) -> Result:
        if self._resume_at is not None and self._clock() < self._resume_at:
            raise StoreError("the store is away and is left alone for a while")
        begun = self._clock()
        try:
            result = self._within(operation, step)
        except (CallAbandonedError, StoreError, ConfigurationError) as error:
            self._failed(operation, error)
            raise StoreError(str(error)) from error
        self._slow = self._slow + 1 if self._clock() - begun > SLOW_SHARE * self._timeout_s else 0
        if self._slow >= SLOW_MAX:
            self._failed(operation, StoreError(f"{self._slow} calls in a row were slow"))
        elif self.away and not self._slow:
            log.info("store_back")
            self._resume_at, self._pause_s = None, FIRST_PAUSE_S
        return result

    def _within(self, operation: str, step: Callable[[Store], Result]) -> Result:
        results: list[Result] = []
        opened: list[Store] = [] if self._store is None else [self._store]

        def work() -> None:
            if not opened:
                opened.append(self._open_store())
            results.append(step(opened[0]))

        try:
            call_within(work, timeout_s=self._timeout_s, name=f"store-{operation}")
        except CallAbandonedError:
            self._store = None
            raise
        except (StoreError, ConfigurationError):
            self._store = opened[0] if opened else None
            raise
        self._store = opened[0]
        return results[0]

    def _failed(self, operation: str, error: Exception) -> None:
        self.errors[operation] += 1
        log.warning("store_failed", operation=operation, why=str(error), pause_s=self._pause_s)
        self._resume_at = self._clock() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
