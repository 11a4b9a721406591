# SPDX-License-Identifier: BSD-3-Clause
"""Which of the messages that a source gave out are still its to commit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from broker_plugin.streams.base import Message

__all__ = ["Ownership", "Place", "next_offsets"]

Place = tuple[str, int]
"""Topic and partition."""


class Ownership:
    """Remembers messages from the poll to the commit, unless their partition is taken away in between.

    Messages are told apart by identity, not by value: after a rebalance the same message may come once more,
    and then only the second of the two is ours.

    Examples
    --------
    >>> owned, message = Ownership(), Message(topic="t", partition=0, offset=0, value=b"")
    >>> owned.note(message)
    >>> len(owned.of([message])), owned.forget([("t", 0)]), len(owned.of([message]))
    (1, 1, 0)
    """

    def __init__(self) -> None:
        self._outstanding: dict[Place, dict[int, Message]] = {}

    def note(self, message: Message) -> None:
        """Remember a message that is given out."""
        self._outstanding.setdefault((message.topic, message.partition), {})[id(message)] = message

    def __contains__(self, message: Message) -> bool:
        return id(message) in self._outstanding.get((message.topic, message.partition), {})

    def of(self, messages: Sequence[Message]) -> list[Message]:
        """Return those of these messages that are ours."""
        return [message for message in messages if message in self]

    def settle(self, messages: Iterable[Message]) -> None:
        """Forget messages that are done."""
        for message in messages:
            self._outstanding.get((message.topic, message.partition), {}).pop(id(message), None)

    def forget(self, places: Iterable[Place]) -> int:
        """Forget all messages of partitions that were taken away; return how many those were."""
        return sum(len(self._outstanding.pop(place, {})) for place in places)


def next_offsets(messages: Iterable[Message]) -> dict[Place, int]:
    """Return, for each partition of these messages, the offset from which to go on.

    Examples
    --------
    >>> next_offsets([Message(topic="t", partition=0, offset=n, value=b"") for n in (3, 5, 4)])
    {('t', 0): 6}
    """
    behind: dict[Place, int] = {}
    for message in messages:
        place = (message.topic, message.partition)
        behind[place] = max(behind.get(place, 0), message.offset + 1)
    return behind
