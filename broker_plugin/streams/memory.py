# SPDX-License-Identifier: BSD-3-Clause
"""A stream in memory: a source that remembers what was committed, and a sink that can be unavailable.

They behave as the Kafka ones do where the pipeline can tell: a restart goes on behind the committed offsets,
a partition can be taken away, a destination can be down for a while or refuse what is too large.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from broker_plugin.errors import TransientError
from broker_plugin.streams.base import Message, OutgoingMessage
from broker_plugin.streams.limits import Oversize, wire_size
from broker_plugin.streams.ownership import Ownership, Place, next_offsets

__all__ = ["MemorySink", "MemorySource"]


class MemorySource:
    """Messages that are there from the beginning.

    Parameters
    ----------
    messages
        In the order in which they are polled.

    Examples
    --------
    >>> source = MemorySource([Message(topic="t", partition=0, offset=7, value=b"")])
    >>> source.commit(source.poll(10, 0.0))
    >>> source.committed
    {('t', 0): 8}
    """

    def __init__(self, messages: Iterable[Message]) -> None:
        self._messages = list(messages)
        self._waiting = list(self._messages)
        self._ownership = Ownership()
        self.committed: dict[Place, int] = {}

    def poll(self, batch_max: int, timeout_s: float) -> Sequence[Message]:
        """Return up to `batch_max` messages at once."""
        polled, self._waiting = self._waiting[:batch_max], self._waiting[batch_max:]
        for message in polled:
            self._ownership.note(message)
        return polled

    def commit(self, messages: Sequence[Message]) -> None:
        """Note the offsets behind those messages that are still ours."""
        owned = self.owned(messages)
        for place, offset in next_offsets(owned).items():
            self.committed[place] = max(self.committed.get(place, 0), offset)
        self._ownership.settle(owned)

    def owned(self, messages: Sequence[Message]) -> list[Message]:
        """Return those messages whose partitions were not taken away since they were polled."""
        return self._ownership.of(messages)

    def take_away(self, topic: str, partition: int) -> None:
        """Lose a partition to another member of the group."""
        self._ownership.forget([(topic, partition)])
        self._waiting = [m for m in self._waiting if (m.topic, m.partition) != (topic, partition)]

    def restart(self) -> None:
        """Go on behind the committed offsets, as a new process would."""
        self._ownership = Ownership()
        self._waiting = [
            message
            for message in self._messages
            if message.offset >= self.committed.get((message.topic, message.partition), 0)
        ]

    def stay(self) -> None:
        """Do nothing: nobody waits for an answer."""

    def keep_alive(self) -> None:
        """Do nothing: nobody waits for a sign of life."""

    def joined(self) -> bool:
        """Tell that the messages are there."""
        return True

    def lag_by_topic(self) -> Mapping[str, int]:
        """Return how many messages of each topic were not polled yet."""
        return Counter(message.topic for message in self._waiting)

    @property
    def exhausted(self) -> bool:
        """Tell whether everything was polled."""
        return not self._waiting

    def close(self) -> None:
        """Do nothing."""


class MemorySink:
    """Keeps what it is sent.

    Parameters
    ----------
    message_max_bytes
        Larger messages are refused, as by a topic with that limit.
    unavailable
        How many calls of `send` fail before one succeeds.
    """

    def __init__(self, *, message_max_bytes: int | None = None, unavailable: int = 0) -> None:
        self._message_max_bytes = message_max_bytes
        self.unavailable = unavailable
        self.sent: list[OutgoingMessage] = []

    def send(self, messages: Sequence[OutgoingMessage]) -> None:
        """Keep messages.

        Raises
        ------
        TransientError
            While the sink is unavailable.
        Oversize
            If messages are too large; the others are kept.
        """
        if self.unavailable > 0:
            self.unavailable -= 1
            raise TransientError("the sink in memory is unavailable")
        limit = self._message_max_bytes
        refused = [message for message in messages if limit is not None and wire_size(message) > limit]
        self.sent.extend(message for message in messages if message not in refused)
        if refused:
            raise Oversize(refused)

    def on(self, topic: str) -> list[OutgoingMessage]:
        """Return what was sent to a topic."""
        return [message for message in self.sent if message.topic == topic]

    def close(self) -> None:
        """Do nothing."""
