# SPDX-License-Identifier: BSD-3-Clause
"""`/metrics`, `/healthz`, `/startedz` and `/readyz` over HTTP, from a thread beside the loop.

Started is a service that has opened what it needs; how long that may take, whoever waits for it decides.
Alive is a loop that turns: what is not alive is to be killed and started again. Ready is one that does its
work: what is not ready will be by itself, or when somebody acts, and a restart would not help. So an output
that is away makes the service not ready and leaves it alive.
"""

from __future__ import annotations

import errno
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import TYPE_CHECKING, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import CollectorRegistry, Gauge

from broker_plugin.errors import ConfigurationError, StreamPausedError
from broker_plugin.pipeline.monitor import QuietMonitor
from broker_plugin.service.metrics import CONTENT_TYPE, Metrics

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

__all__ = ["Health", "HealthServer", "show_readiness"]

log = structlog.get_logger(__name__)

ALIVE_S = 120.0
"""Silence of the loop after which it counts as stuck. It speaks several times a second, also while a batch is
judged, but not while one is sent: an attempt at that takes tens of seconds where brokers do not answer."""

PATIENCE_S = 30.0
"""How long a stage may fail before the service is not ready: longer than Kafka takes to elect leaders."""

SILENT_CLIENT_S = 10.0
"""Longest silence of whoever is connected. Each connection has a thread, which would else wait for ever for
one that says nothing; a scrape is asked and answered in milliseconds."""

STARTING = "the bundle is being opened and warmed up"

PLAIN = "text/plain; charset=utf-8"
JSON = "application/json"


class Health(QuietMonitor):
    """Whether the loop lives, and whether it is ready for work.

    Parameters
    ----------
    alive_s
        Silence after which the loop counts as stuck.
    patience_s
        How long a stage may fail, attempt after attempt, before the service is not ready.
    clock
        Seconds that never go back.

    Examples
    --------
    >>> Health().obstacles()
    ['the bundle is being opened and warmed up', 'the group has given us no partitions yet']
    """

    def __init__(
        self,
        *,
        alive_s: float = ALIVE_S,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._alive_s = alive_s
        self._patience_s = patience_s
        self._clock = clock
        self._last_beat = clock()
        self._joined = False
        self._paused = ""
        self._failing_since: dict[str, float] = {}
        self._warm = False

    def warmed_up(self) -> None:
        """Note that all is opened and the loop begins; its silence counts from now on."""
        self.beat()
        self._warm = True

    def beat(self) -> None:
        """Note a sign of life."""
        self._last_beat = self._clock()

    def joined(self, joined: bool) -> None:
        """Note whether the group has given us our partitions."""
        self._joined = joined

    def paused(self, pause: StreamPausedError | None) -> None:
        """Note why nothing more is read, or that it goes on."""
        self._paused = "" if pause is None else str(pause)

    def retried(self, stage: str) -> None:
        """Note since when a stage fails."""
        self._failing_since.setdefault(stage, self._clock())

    def succeeded(self, stage: str) -> None:
        """Note that a stage works."""
        self._failing_since.pop(stage, None)

    def is_started(self) -> bool:
        """Tell whether all is opened and warmed up."""
        return self._warm

    def is_alive(self) -> bool:
        """Tell whether the loop gave a sign of life lately, if it has begun."""
        return not self._warm or self._clock() - self._last_beat < self._alive_s

    def is_ready(self) -> bool:
        """Tell whether nothing stands in the way of work."""
        return not self.obstacles()

    def obstacles(self) -> list[str]:
        """Return what stands in the way of work, for a person; nothing if the service is ready."""
        found = []
        if not self._warm:
            found.append(STARTING)
        if not self._joined:
            found.append("the group has given us no partitions yet")
        if self._paused:
            found.append(f"paused: {self._paused}")
        if not self.is_alive():
            found.append(self.silence())
        for stage, since in list(self._failing_since.items()):  # the loop's thread may change it
            seconds = self._clock() - since
            if seconds >= self._patience_s:
                found.append(f"the stage {stage} has failed for {seconds:.0f} s; the log says why")
        return found

    def silence(self) -> str:
        """Return how long the loop has been silent, for a person."""
        return f"the loop gave its last sign of life {self._clock() - self._last_beat:.0f} s ago"


class HealthServer:
    """Serves metrics and health until the context is left.

    Parameters
    ----------
    health, metrics
        What is told.
    host, port
        Where to listen; port 0 takes a free one.

    Raises
    ------
    ConfigurationError
        If the port is taken, or the host is no address of this machine.
    """

    def __init__(self, health: Health, metrics: Metrics, *, host: str, port: int) -> None:
        self._health = health
        self._metrics = metrics
        show_readiness(health, metrics.registry)
        try:
            self._server = make_server(host, port, self._answer, _Server, _Handler)
        except OSError as error:
            wrong_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
            raise ConfigurationError(
                f"cannot listen on {host}:{port} ({error.strerror})",
                remedy="give an address of this machine as --metrics-host, such as 127.0.0.1 or 0.0.0.0"
                if wrong_host
                else "choose another --metrics-port",
            ) from error
        self.port = int(self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        log.info("health_served", host=self._server.server_name, port=self.port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environment: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status, kind, body = self._page(str(environment["PATH_INFO"]))
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    def _page(self, path: str) -> tuple[str, str, bytes]:
        if path == "/metrics":
            return "200 OK", CONTENT_TYPE, self._metrics.exposition()
        if path == "/healthz":
            alive = self._health.is_alive()
            return _said("alive", alive, [] if alive else [self._health.silence()])
        if path == "/startedz":
            started = self._health.is_started()
            return _said("started", started, [] if started else [STARTING])
        if path == "/readyz":
            obstacles = self._health.obstacles()
            return _said("ready", not obstacles, obstacles)
        return "404 Not Found", PLAIN, b"there are /metrics, /healthz, /startedz and /readyz\n"


def show_readiness(health: Health, registry: CollectorRegistry) -> None:
    """Make what `/readyz` says a metric."""
    gauge = Gauge("broker_plugin_ready", "1 while /readyz says yes.", registry=registry)
    gauge.set_function(lambda: float(health.is_ready()))


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_address = True

    def server_bind(self) -> None:
        # The library's own looks up the host's name, which can take seconds where there is no name service.
        super(WSGIServer, self).server_bind()
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    timeout = SILENT_CLIENT_S

    def handle(self) -> None:
        with suppress(TimeoutError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the library
        """Say nothing: a scrape every few seconds is no event."""


def _said(what: str, good: bool, why: list[str]) -> tuple[str, str, bytes]:
    body = json.dumps({what: good, "why": why})
    return ("200 OK" if good else "503 Service Unavailable"), JSON, f"{body}\n".encode()
