# SPDX-License-Identifier: BSD-3-Clause
"""A broker that refuses its first messages: a proxy that answers a request to produce in the broker's place.

So answers a broker that has not heard yet that it leads a partition, for instance of a topic just made.
The refusal is held back until the producer's next request has come, which is passed on, or for a while.

The frames are those of the Kafka protocol guide, https://kafka.apache.org/protocol (Produce, versions 9 to
12, of which the fields up to the first partition are the same).
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.support.process import LOOPBACK

__all__ = ["RefusingProxy"]

PRODUCE = 0
VERSIONS = range(9, 13)

NOT_LEADER = 6

HELD_S = 0.5
"""Longest time to hold a refusal back for a producer that waits for it before it sends more."""


@dataclass(frozen=True, slots=True)
class _Request:
    """The head of a request to produce."""

    correlation_id: int
    topic: bytes
    partition: int

    @classmethod
    def of(cls, frame: bytes) -> _Request:
        """Read as much of a frame as a refusal needs."""
        _, version, correlation_id, size = struct.unpack_from(">hhih", frame)
        assert version in VERSIONS, f"Produce version {version} is laid out in another way"
        at = 10 + max(0, size) + 1  # the client's name, and no tagged fields
        size, at = _varint(frame, at)  # transactional id, its length plus one
        at += max(0, size - 1) + 2 + 4 + 1  # acks, timeout, number of topics
        size, at = _varint(frame, at)
        topic = frame[at : at + size - 1]
        (partition,) = struct.unpack_from(">i", frame, at + size - 1 + 1)
        return cls(correlation_id, topic, partition)

    def refusal(self) -> bytes:
        """Return the frame that refuses it."""
        partition = struct.pack(">ihqqq", self.partition, NOT_LEADER, -1, -1, -1)
        partition += b"\x01\x00\x00"  # no record errors, no message, no tagged fields
        assert len(self.topic) < 127, "a longer name takes two bytes for its length"
        topic = bytes([len(self.topic) + 1]) + self.topic + b"\x02" + partition + b"\x00"
        no_throttling = struct.pack(">i", 0)
        return struct.pack(">i", self.correlation_id) + b"\x00\x02" + topic + no_throttling + b"\x00"


class RefusingProxy:
    """Stands before a broker whose advertised address is its own, and refuses once when told to.

    Parameters
    ----------
    port
        Where to listen.
    """

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server((LOOPBACK, port))
        self._broker_port = 0
        self._refuses_next = False
        self.refused = 0

    def begin(self, broker_port: int) -> None:
        """Pass on to a broker from now on; who came before has waited."""
        self._broker_port = broker_port
        threading.Thread(target=self._accept, daemon=True).start()

    def refuse_next(self) -> None:
        """Refuse the next request to produce."""
        self._refuses_next = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection((LOOPBACK, self._broker_port)) as broker:
            side = _Side(client)
            threading.Thread(target=side.pass_on, args=(broker,), daemon=True).start()
            held: _Held | None = None
            for frame in _frames(client):
                produces = struct.unpack_from(">h", frame)[0] == PRODUCE
                if produces and held is not None:
                    held.let_go()
                    held = None
                if produces and self._refuses_next:
                    self._refuses_next = False
                    self.refused += 1
                    held = _Held(side, _Request.of(frame).refusal())
                else:
                    _send(broker, frame)


class _Side:
    """The client's side of a connection, to which two threads send."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._lock = threading.Lock()

    def send(self, frame: bytes) -> None:
        with self._lock, suppress(OSError):
            _send(self._client, frame)

    def pass_on(self, broker: socket.socket) -> None:
        with suppress(OSError):
            for frame in _frames(broker):
                self.send(frame)
            self._client.shutdown(socket.SHUT_RDWR)  # the broker has hung up


class _Held:
    """A refusal that is sent when it is let go, or after a while."""

    def __init__(self, side: _Side, refusal: bytes) -> None:
        self._side, self._refusal = side, refusal
        self._lock, self._is_sent = threading.Lock(), False
        self._timer = threading.Timer(HELD_S, self.let_go)
        self._timer.start()

    def let_go(self) -> None:
        self._timer.cancel()
        with self._lock:
            if not self._is_sent:
                self._side.send(self._refusal)
            self._is_sent = True


def _frames(connection: socket.socket) -> Iterator[bytes]:
    with connection.makefile("rb") as stream:
        while len(head := stream.read(4)) == 4:
            (size,) = struct.unpack(">i", head)
            yield stream.read(size)


def _send(connection: socket.socket, frame: bytes) -> None:
    connection.sendall(struct.pack(">i", len(frame)) + frame)


def _varint(frame: bytes, at: int) -> tuple[int, int]:
    """Return an unsigned number of seven bits a byte, and where it ends."""
    number = shift = 0
    while True:
        number |= (frame[at] & 0x7F) << shift
        at += 1
        if frame[at - 1] < 0x80:
            return number, at
        shift += 7
