# SPDX-License-Identifier: BSD-3-Clause
"""A stream as long as wanted of real ZTF packets, each with an identity of its own, and poison among them."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import fastavro

from tests.support.cluster import Outgoing

__all__ = ["AlertStream"]

FIRST_ID = 1_500_000_000_000_000_000
"""As long in Avro's variable-length integers as the ids of real ZTF alerts, so that one can take the other's
place in the packet's bytes."""

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
    """

    def __init__(self, packets: Sequence[bytes], *, size: int, poisoned: int, seed: int) -> None:
        self._templates = [template for packet in packets if (template := _template(packet)) is not None]
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


def _template(packet: bytes) -> _Template | None:
    reader = fastavro.reader(io.BytesIO(packet))
    (alert,) = reader
    assert isinstance(alert, dict)
    old = varint(alert["candid"])
    parts = packet.split(old)
    # Once for the packet and once for its candidate.
    if reader.codec != "null" or len(old) != ID_BYTES or len(parts) != 3:
        return None
    return _Template(*parts)


def _container(records: list[dict[str, int]]) -> bytes:
    buffer = io.BytesIO()
    schema = {"type": "record", "name": "Other", "fields": [{"name": "a", "type": "int"}]}
    fastavro.writer(buffer, schema, records)
    return buffer.getvalue()
