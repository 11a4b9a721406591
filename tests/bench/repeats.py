# SPDX-License-Identifier: BSD-3-Clause
"""A stream without end: real packets that come again and again, each time under ids of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from broker_plugin.codec.packets import read_container_file
from broker_plugin.codec.record_writer import long_bytes
from broker_plugin.streams.base import Message

__all__ = ["Packet", "Repeats", "StepByStep", "read_packets"]


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet as it was sent, and the ids in it."""

    value: bytes
    candid: int
    object_id: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the packet of a file."""
        packet = next(iter(read_container_file(path)))
        return cls(path.read_bytes(), packet["candid"], packet["objectId"])

    def named_anew(self, number: int) -> bytes:
        """Return the packet under ids of a number's own."""
        value = self.value.replace(long_bytes(self.candid), long_bytes(self.candid + 1 + number))
        return value.replace(self.object_id.encode(), f"ZTF{number:09d}".encode())


def read_packets(data_dir: Path) -> list[Packet]:
    """Return the ZTF packets that are there as they were sent, cutouts included."""
    return [Packet.read(path) for path in sorted((data_dir / "alerts/ztf/native").glob("*.avro"))]


class Repeats:
    """A source of so many messages."""

    def __init__(self, packets: Sequence[Packet], n: int) -> None:
        self._messages = itertools.islice(_messages(packets), n)
        self.exhausted = False

    def poll(self, batch_max: int, timeout_s: float) -> Sequence[Message]:
        """Return so many messages at once."""
        polled = list(itertools.islice(self._messages, batch_max))
        self.exhausted = len(polled) < batch_max
        return polled

    def commit(self, messages: Sequence[Message]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class StepByStep(Repeats):
    """The same, but a batch comes only when the one before it was committed."""

    def __init__(self, packets: Sequence[Packet], n: int) -> None:
        super().__init__(packets, n)
        self._is_open = False

    def poll(self, batch_max: int, timeout_s: float) -> Sequence[Message]:
        """Return so many messages, or none while others are open."""
        if self._is_open:
            return []
        self._is_open = True
        return super().poll(batch_max, timeout_s)

    def commit(self, messages: Sequence[Message]) -> None:
        """Let the next batch come."""
        self._is_open = False


def _messages(packets: Sequence[Packet]) -> Iterator[Message]:
    for number in itertools.count():
        value = packets[number % len(packets)].named_anew(number)
        yield Message(topic="alerts", partition=0, offset=number, value=value)
