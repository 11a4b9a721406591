# SPDX-License-Identifier: BSD-3-Clause
"""A gate in front of a server: open, slow, or shut, while the server itself stays as it is."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

from tests.support.process import LOOPBACK, free_ports

__all__ = ["Gate"]

CHUNK_BYTES = 65_536
"""What is read at once, and held back together by a slow gate."""


class Gate:
    """Passes connections on to a loopback port, from its own.

    Parameters
    ----------
    target
        The server's port.

    Examples
    --------
    ::

        with Gate(server.port) as gate:
            client = Redis(port=gate.port)
            gate.delay_s = 2.0
            gate.shut()
            gate.open()
    """

    def __init__(self, target: int) -> None:
        self._target = target
        (self.port,) = free_ports(1)
        self.delay_s = 0.0
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._is_open = False

    def open(self) -> None:
        """Let connections through."""
        if not self._is_open:
            self._is_open = True
            listener = socket.create_server((LOOPBACK, self.port))
            self._sockets.append(listener)
            self._begin(partial(self._accept, listener))

    def shut(self) -> None:
        """Cut all connections and refuse new ones."""
        self._is_open = False
        while self._threads:
            for one in list(self._sockets):
                _hang_up(one)
            self._threads.pop().join()
        for one in self._sockets:
            one.close()
        self._sockets.clear()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shut()

    def _begin(self, step: Callable[[], None]) -> None:
        thread = threading.Thread(target=step, name="gate", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while self._is_open:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # it is shut
            self._sockets.append(client)
            try:
                server = socket.create_connection((LOOPBACK, self._target))
            except OSError:
                _hang_up(client)  # as the server behind it would
                continue
            self._sockets.append(server)
            self._begin(partial(self._pass_on, client, server, slow=True))
            self._begin(partial(self._pass_on, server, client, slow=False))

    def _pass_on(self, source: socket.socket, target: socket.socket, *, slow: bool) -> None:
        with suppress(OSError):  # one side has gone, so the other is let go
            while chunk := source.recv(CHUNK_BYTES):
                if slow:
                    time.sleep(self.delay_s)
                target.sendall(chunk)
        _hang_up(source)
        _hang_up(target)


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):  # it has hung up itself
        end.shutdown(socket.SHUT_RDWR)
