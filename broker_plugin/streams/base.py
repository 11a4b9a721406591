# SPDX-License-Identifier: BSD-3-Clause
"""What a source of messages and a sink of records are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from broker_plugin.codec.writer_schema import WriterSchema
from broker_plugin.errors import RejectedAlert
from broker_plugin.surveys.base import Packet

__all__ = ["Headers", "Message", "OutgoingMessage", "Sink", "Source", "encoded"]

Headers = tuple[tuple[str, bytes], ...]
"""Message headers, in order; names may repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as it came in. `partition` and `offset` identify it within its topic (or file).

    Parameters
    ----------
    value
        The message's bytes.
    packet
        The record, where an archive holds many in one file and has decoded it; `value` is then empty,
        `writer` is its writer's schema where there is one, and `schema` names it.
    defect
        What the source itself found wrong, where it could not even tell the messages apart.
    """

    topic: str
    partition: int
    offset: int
    value: bytes
    key: bytes | None = None
    headers: Headers = ()
    timestamp_ms: int | None = None
    packet: Packet | None = None
    schema: str = ""
    writer: WriterSchema | None = None
    defect: RejectedAlert | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMessage:
    """One message to be sent."""

    topic: str
    value: bytes
    key: bytes | None = None
    headers: Headers = ()


def encoded(text: str) -> bytes:
    r"""Return text as UTF-8; a file name's bytes that are none come out as escapes.

    Examples
    --------
    >>> encoded("night\udcff.avro")
    b'night\\udcff.avro'
    """
    return text.encode("utf-8", "backslashreplace")


class Source(Protocol):
    """A stream of messages that can be marked as done."""

    def poll(self, batch_max: int, timeout_s: float) -> Sequence[Message]:
        """Return up to `batch_max` messages, waiting at most `timeout_s` for the first."""
        ...

    def commit(self, messages: Sequence[Message]) -> None:
        """Mark messages as done, so that a restart goes on behind them."""
        ...

    @property
    def exhausted(self) -> bool:
        """Tell whether no message will ever come again (a file's end; never for a live stream)."""
        ...

    def close(self) -> None:
        """Leave the stream without committing anything more."""
        ...


class Sink(Protocol):
    """A destination of messages."""

    def send(self, messages: Sequence[OutgoingMessage]) -> None:
        """Hand over messages and return when all of them are acknowledged.

        Raises
        ------
        TransientError
            If the destination did not acknowledge in time; some messages may have arrived.
        """
        ...

    def close(self) -> None:
        """Flush and release the destination."""
        ...
