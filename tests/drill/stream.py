# SPDX-License-Identifier: BSD-3-Clause
"""A stream as long as wanted of real ZTF packets, each with an identity of its own, and poison among them."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import fastavro

from tests.support.cluster import Outgoing

__all__ = ["AlertStream", "Wire", "datum"]

Wire = Callable[[bytes], bytes]
"""From a packet's container to the bytes of a message."""

FIRST_ID = 1_500_000_000_000_000_000
"""As long in Avro's variable-length integers as the ids of real ZTF alerts, so that one can take the other's
place in the packet's bytes."""

SYNC_BYTES = 16

ID_BYTES = 9
"""Length of such an id."""

UNKNOWN_SCHEMA = b"\x00" + (123_456).to_bytes(4, "big") + bytes(50)
"""A frame of a registry that nobody has."""


@dataclass(frozen=True, slots=True)
class _Template:
    before: bytes
    between: bytes
    behind: bytes

    def with_id(self, alert_id: int) -> bytes:
        return varint(alert_id).join((self.before, self.between, self.behind))


class AlertStream:
    """Numbered messages: alert packets under new ids, and poisoned messages at random places.

    Parameters
    ----------
    packets
        Real ZTF packets, uncompressed containers of one alert; they are repeated in turn.
    size
        How many messages.
    poisoned
        How many of them can never become a verdict.
    seed
        Of the places of these.
    wire
        How a packet goes over the wire; by default as it is.
    """

    def __init__(
        self, packets: Sequence[bytes], *, size: int, poisoned: int, seed: int, wire: Wire = bytes
    ) -> None:
        found = (_template(packet, wire) for packet in packets)
        self._templates = [template for template in found if template is not None]
        assert self._templates, "no packet in which the id can be exchanged"
        self.size = size
        self.poisoned = frozenset(random.Random(seed).sample(range(size), poisoned))

    def message(self, number: int) -> Outgoing:
        """Return a message: its key says what it is."""
        if number in self.poisoned:
            kinds = self._poison
            return (b"poison-%d" % number, kinds[number % len(kinds)], [])
        template = self._templates[number % len(self._templates)]
        return (b"alert-%d" % number, template.with_id(FIRST_ID + number), [])

    def cut(self, size: int) -> None:
        """End the stream sooner: the messages from there on are never sent."""
        self.size = size
        self.poisoned = frozenset(number for number in self.poisoned if number < size)

    @cached_property
    def alert_ids(self) -> frozenset[int]:
        """The ids of all alerts."""
        return frozenset(FIRST_ID + number for number in range(self.size) if number not in self.poisoned)

    @cached_property
    def poison_keys(self) -> frozenset[bytes]:
        """The keys of all poisoned messages."""
        return frozenset(b"poison-%d" % number for number in self.poisoned)

    @cached_property
    def _poison(self) -> list[bytes]:
        packet = self._templates[0].with_id(FIRST_ID - 1)
        return [
            random.Random(0).randbytes(30_000),
            packet[: len(packet) // 2],
            packet[:-1],
            b"",
            UNKNOWN_SCHEMA,
            b"hello, is this ZTF?",
            _container([]),
            _container([{"a": 1}]),
        ]


def varint(number: int) -> bytes:
    r"""Return a non-negative number as Avro writes a long.

    Examples
    --------
    >>> varint(1), varint(64)
    (b'\x02', b'\x80\x01')
    """
    left, written = number << 1, bytearray()
    while left > 0x7F:
        written.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*written, left])


def datum(packet: bytes) -> bytes:
    """Return the bare Avro of an uncompressed container of one alert."""
    marker = packet[-SYNC_BYTES:]  # stands behind the header and behind each block
    block = io.BytesIO(packet[packet.index(marker) + SYNC_BYTES :])
    number, size = _read_varint(block), _read_varint(block)
    content = block.read(size)
    assert number == 1
    assert block.read() == marker
    return content


def _template(packet: bytes, wire: Wire) -> _Template | None:
    reader = fastavro.reader(io.BytesIO(packet))
    (alert,) = reader
    assert isinstance(alert, dict)
    old = varint(alert["candid"])
    parts = wire(packet).split(old)
    # Once for the packet and once for its candidate.
    if reader.codec != "null" or len(old) != ID_BYTES or len(parts) != 3:
        return None
    return _Template(*parts)


def _read_varint(source: io.BytesIO) -> int:
    found, shift = 0, 0
    while True:
        (byte,) = source.read(1)
        found |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return found >> 1


def _container(records: list[dict[str, int]]) -> bytes:
    buffer = io.BytesIO()
    schema = {"type": "record", "name": "Other", "fields": [{"name": "a", "type": "int"}]}
    fastavro.writer(buffer, schema, records)
    return buffer.getvalue()
