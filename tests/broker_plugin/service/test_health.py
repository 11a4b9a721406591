# SPDX-License-Identifier: BSD-3-Clause
"""Health is what the loop did lately."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from broker_plugin.errors import ConfigurationError, PauseReason, StreamPausedError
from broker_plugin.service.health import SILENT_CLIENT_S, Health, HealthServer, _Handler
from broker_plugin.service.metrics import Metrics
from tests.support.process import wait_until

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with DIRECT.open(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def status(port: int, path: str) -> int:
    return get(port, path)[0]


def ready_health(now: Callable[[], float] = lambda: 0.0) -> Health:
    """One that has joined and is warm."""
    health = Health(alive_s=120.0, patience_s=30.0, clock=now)
    health.joined(True)
    health.warmed_up()
    return health


def test_a_loop_that_falls_silent_is_not_alive() -> None:
    now = 100.0
    health = Health(alive_s=10.0, clock=lambda: now)
    health.warmed_up()
    now = 109.0
    assert health.is_alive()
    health.beat()
    now = 118.9
    assert health.is_alive()
    now = 119.1
    assert not health.is_alive()


def test_a_long_start_is_alive_and_its_silence_counts_once_it_is_over() -> None:
    now = 0.0
    health = Health(alive_s=10.0, clock=lambda: now)
    with HealthServer(health, Metrics("ztf"), host="127.0.0.1", port=0) as server:
        now = 1000.0
        assert status(server.port, "/healthz") == 200
        code, body = get(server.port, "/startedz")
        assert (code, json.loads(body)) == (
            503,
            {"started": False, "why": ["the bundle is being opened and warmed up"]},
        )
        health.warmed_up()
        assert get(server.port, "/startedz") == (200, '{"started": true, "why": []}\n')
        now = 1009.0
        assert status(server.port, "/healthz") == 200
        now = 1011.0
        assert status(server.port, "/healthz") == 503
        assert status(server.port, "/startedz") == 200


def test_ready_is_warm_and_joined() -> None:
    readiness = []
    for joined in (False, True):
        health = Health()
        health.joined(joined)
        readiness.append(health.is_ready())
        health.warmed_up()
        readiness.append(health.is_ready())
    assert readiness == [False, False, False, True]


def test_a_stage_may_fail_for_a_while_before_the_service_is_not_ready() -> None:
    now = 100.0
    health = ready_health(lambda: now)
    health.retried("produce")
    now = 129.0
    health.beat()
    health.retried("produce")
    assert health.is_ready()
    now = 130.0
    (why,) = health.obstacles()
    assert "produce has failed for 30 s" in why
    assert health.is_alive()
    health.succeeded("poll")
    assert not health.is_ready()
    health.succeeded("produce")
    assert health.is_ready()
    health.retried("produce")
    assert health.is_ready()


def test_a_paused_stream_is_alive_and_not_ready_and_says_why() -> None:
    health = ready_health()
    health.paused(StreamPausedError(PauseReason.REJECTS, "too many dead letters: missing_field"))
    assert health.is_alive()
    with HealthServer(health, Metrics("ztf"), host="127.0.0.1", port=0) as server:
        code, body = get(server.port, "/readyz")
        assert (code, json.loads(body)) == (
            503,
            {"ready": False, "why": ["paused: too many dead letters: missing_field"]},
        )
        assert json.loads(get(server.port, "/healthz")[1]) == {"alive": True, "why": []}
        health.paused(None)
        assert json.loads(get(server.port, "/readyz")[1]) == {"ready": True, "why": []}


def test_a_silent_loop_is_not_ready_either() -> None:
    now = 0.0
    health = ready_health(lambda: now)
    now = 121.0
    (why,) = health.obstacles()
    assert "121 s ago" in why


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_this_machine_is_told_from_a_taken_port(host: str) -> None:
    with pytest.raises(ConfigurationError, match="as --metrics-host"):
        HealthServer(Health(), Metrics("ztf"), host=host, port=0)


def test_the_server_tells_both_and_gives_its_port_back() -> None:
    now = 0.0
    health = Health(alive_s=10.0, clock=lambda: now)
    with HealthServer(health, Metrics("ztf"), host="127.0.0.1", port=0) as server:
        assert status(server.port, "/healthz") == 200
        assert status(server.port, "/readyz") == 503
        assert status(server.port, "/metrics") == 200
        assert status(server.port, "/") == 404
        health.warmed_up()
        health.joined(True)
        assert status(server.port, "/readyz") == 200
        now = 11.0
        assert status(server.port, "/healthz") == 503
        with pytest.raises(ConfigurationError, match="choose another --metrics-port"):
            HealthServer(health, Metrics("ztf"), host="127.0.0.1", port=server.port)
    with HealthServer(health, Metrics("ztf"), host="127.0.0.1", port=server.port):
        assert status(server.port, "/metrics") == 200


@pytest.mark.parametrize("begun", [b"", b"GET /metrics HTTP/1.1\r\nHost:"])
def test_a_client_that_falls_silent_keeps_no_thread(
    begun: bytes, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _Handler.timeout == SILENT_CLIENT_S
    monkeypatch.setattr(_Handler, "timeout", 0.2)
    with HealthServer(Health(), Metrics("ztf"), host="127.0.0.1", port=0) as server:
        before = set(threading.enumerate())
        silent = [socket.create_connection(("127.0.0.1", server.port), timeout=5.0) for _ in range(10)]
        for one in silent:
            one.sendall(begun)
        assert [one.recv(1) for one in silent] == [b""] * len(silent)  # they are hung up on
        wait_until(lambda: set(threading.enumerate()) <= before, what="the ends of their threads")
        for one in silent:
            one.close()
        assert status(server.port, "/metrics") == 200
    assert "Traceback" not in capfd.readouterr().err
