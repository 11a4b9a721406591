# SPDX-License-Identifier: BSD-3-Clause
"""Writing that joins what is new to what is there, whoever else writes meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from broker_plugin.store.base import Change, tag_of

__all__ = ["SWAP_TRIES", "merge"]

New = TypeVar("New")

SWAP_TRIES = 3
"""A second writer of the same key is met once in a while, after a rebalance; hardly three times in a row."""


class _Swaps(Protocol):
    def fetch(self, keys: Sequence[str]) -> list[bytes | None]: ...

    def swap(self, changes: Sequence[Change]) -> list[bool]: ...


def merge(
    store: _Swaps,
    new: Mapping[str, New],
    *,
    held: Mapping[str, bytes | None],
    merged: Callable[[bytes | None, New], bytes],
    ttl_s: float | None,
) -> dict[str, New]:
    """Write what is new and return what was not written, since other writers were faster every time.

    Takes one round trip, and two more for what somebody else wrote since it was read.

    Parameters
    ----------
    store
        Where to.
    new
        What is new, by key.
    held
        The value of each of these keys, as it was read; those that are missing are not written.
    merged
        Returns the value that is to be written, given the one that is there. It must give the same in
        whatever order things arrive; where nothing changes, nothing is written.
    ttl_s
        How long to keep it, None for ever.

    Raises
    ------
    StoreError
        If the store does not answer; any of it may be written, so all of it may be merged again.
    """
    left = dict(new)
    now = {key: held[key] for key in left if key in held}
    for _ in range(SWAP_TRIES):
        changes = [
            Change(key=key, value=value, seen=tag_of(there), ttl_s=ttl_s)
            for key, there in now.items()
            if (value := merged(there, left[key])) != there
        ]
        done = store.swap(changes) if changes else []
        lost = [change.key for change, written in zip(changes, done, strict=True) if not written]
        left = {key: each for key, each in left.items() if key not in now or key in set(lost)}
        if not lost:
            break
        now = dict(zip(lost, store.fetch(lost), strict=True))
    return left
