# SPDX-License-Identifier: BSD-3-Clause
"""What cannot become a verdict goes to a topic of its own, with the reason and as much of it as may be shown.

A dead letter holds the message as it came: bytes, key and headers, and says in further headers where it came
from and why it is here. Two things shorten it. One that would be larger than its topic takes keeps the first
4 KiB, with the size and SHA-256 of the whole, and loses the message's key and headers if that is not enough.
One whose packet holds data that readers of the topic may not see keeps nothing of the message: reason, topic,
partition and offset only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from broker_plugin import __version__
from broker_plugin.errors import ConfigurationError, RejectedAlert
from broker_plugin.records import Access
from broker_plugin.streams.base import Headers, Message, OutgoingMessage, encoded
from broker_plugin.streams.limits import wire_size

__all__ = ["PREFIX", "REASON", "DeadLetters", "can_shrink", "parted", "shrink"]

PREFIX = "dead_letter_"
"""What our headers begin with."""

EXCERPT_BYTES = 4096
"""What is kept of a message that is too large: enough for the head of an Avro file and to recognise text."""

REASON = f"{PREFIX}reason"

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
        while wire_size(letter) > self.max_bytes and can_shrink(letter):
            letter = shrink(letter)
        return letter

    def may_show(self, rejection: RejectedAlert) -> bool:
        """Tell whether readers of the dead letters may see the rejected message."""
        if rejection.access is None:
            return self.undecodable
        return rejection.access <= self.declared


def shrink(letter: OutgoingMessage) -> OutgoingMessage:
    """Return a dead letter that holds less: 4 KiB of the message, or not its key and headers either.

    Raises
    ------
    ConfigurationError
        If it is no dead letter, or already as short as can be: then its topic takes too little.
    """
    if not can_shrink(letter):
        raise ConfigurationError(
            f"{letter.topic} does not take a message of {wire_size(letter)} bytes; raise max.message.bytes"
        )
    theirs, ours = parted(letter.headers)
    marked = tuple((name, b"true" if name == TRUNCATED else value) for name, value in ours)
    if len(letter.value) > EXCERPT_BYTES:
        return replace(letter, value=letter.value[:EXCERPT_BYTES], headers=theirs + marked)
    return replace(letter, key=None, headers=marked)


def can_shrink(message: OutgoingMessage) -> bool:
    """Tell whether a message is a dead letter that holds more than it must."""
    theirs, ours = parted(message.headers)
    return bool(ours) and (len(message.value) > EXCERPT_BYTES or message.key is not None or bool(theirs))


def parted(headers: Headers) -> tuple[Headers, Headers]:
    """Return the headers of the message and ours, which begin with the last reason."""
    # A dead letter that was sent in again and failed again brings headers of our names along.
    begins = max((index for index, (name, _) in enumerate(headers) if name == REASON), default=len(headers))
    return headers[:begins], headers[begins:]


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
    value = message.value
    if message.packet is not None or (message.defect is not None and not value):
        return _text(truncated="true")
    return _text(sha256=hashlib.sha256(value).hexdigest(), size=str(len(value)), truncated="false")


def _text(**headers: str) -> Headers:
    return tuple((f"{PREFIX}{name}", encoded(value)) for name, value in headers.items())
