# SPDX-License-Identifier: BSD-3-Clause
"""Gathers messages into batches: by number, by size, or by age."""

from __future__ import annotations

from collections.abc import Sequence

from broker_plugin.streams.base import Message

__all__ = ["Batcher"]


class Batcher:
    """Holds one open batch. It is due when it is full or its oldest message has waited long enough.

    Times are of one clock, whichever, in seconds.

    Parameters
    ----------
    batch_max
        Most messages.
    batch_max_bytes
        Size at which a batch is full; its last message may exceed it.
    batch_age_s
        Longest wait of the oldest message.

    Examples
    --------
    >>> batcher = Batcher(batch_max=10, batch_age_s=1.0)
    >>> batcher.add([Message(topic="t", partition=0, offset=0, value=b"")], now=5.0)
    >>> batcher.is_due(5.9), batcher.is_due(6.0)
    (False, True)
    >>> len(batcher.take()), len(batcher)
    (1, 0)
    """

    def __init__(
        self, *, batch_max: int = 256, batch_max_bytes: int = 64_000_000, batch_age_s: float = 0.5
    ) -> None:
        self._batch_max = batch_max
        self._batch_max_bytes = batch_max_bytes
        self._batch_age_s = batch_age_s
        self._messages: list[Message] = []
        self._bytes = 0
        self._opened = 0.0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def room(self) -> int:
        """How many more messages fit."""
        return self._batch_max - len(self._messages)

    @property
    def is_full(self) -> bool:
        """Tell whether no more should be added."""
        return self.room <= 0 or self._bytes >= self._batch_max_bytes

    def add(self, messages: Sequence[Message], *, now: float) -> None:
        """Put messages into the open batch."""
        if messages and not self._messages:
            self._opened = now
        self._messages.extend(messages)
        self._bytes += sum(len(message.value) for message in messages)

    def is_due(self, now: float) -> bool:
        """Tell whether the batch should be taken."""
        if not self._messages:
            return False
        return self.is_full or now >= self._opened + self._batch_age_s

    def wait_s(self, now: float) -> float:
        """Return how long to wait for more messages at most."""
        return max(0.0, self._opened + self._batch_age_s - now) if self._messages else float("inf")

    def take(self) -> list[Message]:
        """Return the batch and open the next."""
        taken, self._messages, self._bytes = self._messages, [], 0
        return taken
