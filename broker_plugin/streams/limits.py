# SPDX-License-Identifier: BSD-3-Clause
"""How large a message is on the wire, and what is raised when one is larger than its topic takes."""

from __future__ import annotations

from collections.abc import Sequence

from broker_plugin.errors import BrokerPluginError
from broker_plugin.streams.base import OutgoingMessage

__all__ = ["Oversize", "wire_size"]

BATCH_OVERHEAD = 128
"""A record batch's head of 61 bytes and a record's own lengths, rounded up."""

HEADER_OVERHEAD = 10
"""Two lengths of at most five bytes each."""


class Oversize(BrokerPluginError):
    """The destination refused messages for their size; all others of the same call have arrived.

    Parameters
    ----------
    messages
        Those that were refused.
    """

    def __init__(self, messages: Sequence[OutgoingMessage]) -> None:
        largest = max(wire_size(message) for message in messages)
        topics = ", ".join(sorted({message.topic for message in messages}))
        super().__init__(
            f"{topics}: {len(messages)} messages of up to {largest} bytes are larger than the topic takes; "
            "raise its max.message.bytes"
        )
        self.messages = tuple(messages)


def wire_size(message: OutgoingMessage) -> int:
    """Return an upper bound of a message's size in bytes as an uncompressed record batch of its own.

    Examples
    --------
    >>> wire_size(OutgoingMessage(topic="t", value=b"12345", headers=(("name", b"value"),)))
    152
    """
    headers = sum(len(name.encode()) + len(value) + HEADER_OVERHEAD for name, value in message.headers)
    return BATCH_OVERHEAD + len(message.key or b"") + len(message.value) + headers
