# SPDX-License-Identifier: BSD-3-Clause
"""Messages that a source took before anyone asked for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from broker_plugin.streams.base import Message

__all__ = ["LookAhead"]

MESSAGES_MAX = 1000
"""A few batches. What a message costs beside its bytes, about a kilobyte, stays out of the count of bytes."""


class LookAhead:
    """Keeps, in order, what came in while the source waited for something else, and tells when it is enough.

    Parameters
    ----------
    bytes_max
        Enough of messages' bytes.

    Examples
    --------
    >>> ahead = LookAhead(bytes_max=5)
    >>> ahead.add(Message(topic="t", partition=0, offset=0, value=b"12345"))
    >>> ahead.full, len(ahead), ahead.take().offset, ahead.full, ahead.take()
    (True, 1, 0, False, None)
    """

    def __init__(self, *, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._messages: deque[Message] = deque()
        self._bytes = 0

    def add(self, message: Message) -> None:
        """Keep a message."""
        self._messages.append(message)
        self._bytes += len(message.value)

    def take(self) -> Message | None:
        """Give out the oldest message, or None where there is none."""
        if not self._messages:
            return None
        message = self._messages.popleft()
        self._bytes -= len(message.value)
        return message

    @property
    def full(self) -> bool:
        """Tell whether the source should take no more."""
        return self._bytes >= self._bytes_max or len(self._messages) >= MESSAGES_MAX

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self._messages)
