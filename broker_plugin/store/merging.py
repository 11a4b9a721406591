# SPDX-License-Identifier: BSD-3-Clause
"""Writing that joins what is new to what is there, whoever else writes meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from broker_plugin.store.base import Change, tag_of

__all__ = ["SWAP_TRIES", "Update", "merge"]

SWAP_TRIES = 3
"""A second writer of the same key is met once in a while, after a rebalance; hardly three times in a row."""


@dataclass(frozen=True, slots=True)
class Update:
    """What is new under a key.

    Parameters
    ----------
    merged
        Returns the value that is to be written, given the one that is there. It must give the same in
        whatever order things arrive; where nothing changes, nothing is written.
    ttl_s
        How long to keep it, None for ever.
    """

    merged: Callable[[bytes | None], bytes]
    ttl_s: float | None


class _Swaps(Protocol):
    def fetch(self, keys: Sequence[str]) -> list[bytes | None]: ...

    def swap(self, changes: Sequence[Change]) -> list[bool]: ...


def merge(store: _Swaps, new: Mapping[str, Update], *, held: Mapping[str, bytes | None]) -> set[str]:
    """Write what is new and return the keys that were not written.

    Takes one round trip, and two more for what somebody else wrote since it was read. What others were faster
    with every time is not written, nor is what was not read before.

    Parameters
    ----------
    store
        Where to.
    new
        What is new, by key.
    held
        The value of each of these keys, as it was read.

    Raises
    ------
    StoreError
        If the store does not answer; any of it may be written, so all of it may be merged again.
    """
    now = {key: held[key] for key in new if key in held}
    unread = new.keys() - now.keys()
    for _ in range(SWAP_TRIES):
        changes = [
            Change(key=key, value=value, seen=tag_of(there), ttl_s=new[key].ttl_s)
            for key, there in now.items()
            if (value := new[key].merged(there)) != there
        ]
        done = store.swap(changes) if changes else []
        lost = [change.key for change, written in zip(changes, done, strict=True) if not written]
        if not lost:
            return unread
        now = dict(zip(lost, store.fetch(lost), strict=True))
    return unread | now.keys()
