# SPDX-License-Identifier: BSD-3-Clause
"""Every kind of store, and a wire to the real Redis on which round trips are counted."""

from __future__ import annotations

import selectors
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from broker_plugin.store.address import StoreAddress
from broker_plugin.store.base import Change, sealed
from tests.support.process import LOOPBACK

KINDS = ("memory", "sqlite", pytest.param("redis", marks=pytest.mark.service))
PATIENT_S = 30.0
"""Time for a store on a machine that others use too."""


def address(kind: str, request: pytest.FixtureRequest, folder: Path) -> StoreAddress:
    """Return where a store of a kind is; the Redis is shared by all tests."""
    text = {"memory": "memory", "sqlite": f"sqlite:{folder / 'store.sqlite'}"}.get(kind)
    return StoreAddress(text=text or request.getfixturevalue("redis_url"), timeout_s=PATIENT_S)


def fresh(*names: str) -> list[str]:
    """Return keys that no other test has."""
    return [f"{name}-{uuid.uuid4().hex}" for name in names]


def change(key: str, text: str, *, seen: bytes = b"", ttl_s: float | None = None) -> Change:
    return Change(key=key, value=sealed(text.encode()), seen=seen, ttl_s=ttl_s)


QUIET_S = 0.2
"""A client that sends nothing for so long is waiting for an answer."""


class CountingWire:
    """A relay to a server that keeps back answers until the client waits for them, and counts how often."""

    def __init__(self, port: int) -> None:
        self.round_trips = 0
        self._target = port
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection((LOOPBACK, self._target)) as server, suppress(OSError):
            selector = selectors.DefaultSelector()
            selector.register(client, selectors.EVENT_READ)
            selector.register(server, selectors.EVENT_READ)
            answers, asked, asked_at = b"", False, 0.0
            while True:
                ready = [key.fileobj for key, _ in selector.select(QUIET_S / 4)]
                if client in ready:
                    asked, asked_at = True, time.monotonic()
                    server.sendall(_received(client))
                if server in ready:
                    answers += _received(server)
                if answers and time.monotonic() - asked_at > QUIET_S:
                    self.round_trips += asked
                    client.sendall(answers)
                    answers, asked = b"", False


def _received(source: socket.socket) -> bytes:
    data = source.recv(1 << 16)
    if not data:
        raise ConnectionResetError
    return data


@contextmanager
def counting_wire(port: int) -> Iterator[CountingWire]:
    wire = CountingWire(port)
    try:
        yield wire
    finally:
        wire.close()


def texts(values: Sequence[bytes | None]) -> list[str | None]:
    return [None if value is None else value[8:].decode() for value in values]
