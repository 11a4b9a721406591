# SPDX-License-Identifier: BSD-3-Clause
"""What cannot become a verdict goes to a topic of its own, with the reason and as much of it as may be shown.

A dead letter holds the message as it came: bytes, key and headers, and says in further headers where it came
from and why it is here. Two things shorten it. One that would be larger than its topic takes keeps the first
4 KiB, with the size and SHA-256 of the whole. One whose packet holds data that readers of the topic may not
see keeps nothing of the message: reason, topic, partition and offset only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from broker_plugin import __version__
from broker_plugin.errors import ConfigurationError, RejectedAlert
from broker_plugin.records import Access
from broker_plugin.streams.base import Headers, Message, OutgoingMessage
from broker_plugin.streams.limits import wire_size

__all__ = ["PREFIX", "DeadLetters", "can_truncate", "truncate"]

PREFIX = "dead_letter_"
"""What our headers begin with."""

EXCERPT_BYTES = 4096
"""What is kept of a message that is too large: enough for the head of an Avro file and to recognise text."""

TRUNCATED = f"{PREFIX}truncated"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetters:
    """Makes dead letters for one topic.

    Parameters
    ----------
    topic
        Where they go.
    declared
        Access classes that its readers may see.
    undecodable
        Whether it may hold bytes that nobody could decode, which may hold anything. Then the topic must be
        readable by the operator alone.
    max_bytes
        Largest dead letter on the wire.
    """

    topic: str
    declared: frozenset[Access] = frozenset({Access.PUBLIC})
    undecodable: bool = True
    max_bytes: int = 1_000_000

    def pack(self, message: Message, rejection: RejectedAlert) -> OutgoingMessage:
        """Return the dead letter of a message."""
        if not self.may_show(rejection):
            return OutgoingMessage(
                topic=self.topic, value=b"", headers=_place(message, rejection) + _text(redacted="true")
            )
        letter = OutgoingMessage(
            topic=self.topic,
            value=message.value,
            key=message.key,
            headers=message.headers
            + _place(message, rejection)
            + _text(detail=rejection.detail, redacted="false")
            + _evidence(message),
        )
        return letter if wire_size(letter) <= self.max_bytes else self._shortened(letter)

    def may_show(self, rejection: RejectedAlert) -> bool:
        """Tell whether readers of the dead letters may see the rejected message."""
        if rejection.access is None:
            return self.undecodable
        return rejection.access <= self.declared

    def _shortened(self, letter: OutgoingMessage) -> OutgoingMessage:
        short = truncate(letter)
        if wire_size(short) <= self.max_bytes:
            return short
        # Key and headers that are themselves too large are no part of the evidence that can be kept.
        ours = tuple(header for header in short.headers if header[0].startswith(PREFIX))
        return replace(short, key=None, headers=ours)


def truncate(letter: OutgoingMessage) -> OutgoingMessage:
    """Return a dead letter that keeps the first 4 KiB of the message.

    Raises
    ------
    ConfigurationError
        If it is no dead letter, or already as short as can be: then its topic takes too little.
    """
    if not can_truncate(letter):
        raise ConfigurationError(
            f"{letter.topic} does not take a message of {wire_size(letter)} bytes; raise max.message.bytes"
        )
    # A dead letter that was sent in again and failed again brings such headers along; ours is the last.
    last = max(index for index, (name, _) in enumerate(letter.headers) if name == TRUNCATED)
    headers = letter.headers[:last] + _text(truncated="true") + letter.headers[last + 1 :]
    return replace(letter, value=letter.value[:EXCERPT_BYTES], headers=headers)


def can_truncate(message: OutgoingMessage) -> bool:
    """Tell whether a message is a dead letter that holds more than it must."""
    marks = [value for name, value in message.headers if name == TRUNCATED]
    return bool(marks) and marks[-1] == b"false" and len(message.value) > EXCERPT_BYTES


def _place(message: Message, rejection: RejectedAlert) -> Headers:
    return _text(
        reason=str(rejection.reason),
        topic=message.topic,
        partition=str(message.partition),
        offset=str(message.offset),
        plugin_version=__version__,
    )


def _evidence(message: Message) -> Headers:
    """Return what identifies the bytes, unless an archive has kept them to itself."""
    if message.packet is not None or message.defect is not None:
        return _text(truncated="true")
    value = message.value
    return _text(sha256=hashlib.sha256(value).hexdigest(), size=str(len(value)), truncated="false")


def _text(**headers: str) -> Headers:
    return tuple((f"{PREFIX}{name}", value.encode()) for name, value in headers.items())
