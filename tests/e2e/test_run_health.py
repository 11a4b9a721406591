# SPDX-License-Identifier: BSD-3-Clause
"""What `/healthz`, `/readyz` and a stop mean while the output's broker is away or slow, and a stuck loop."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartRun
from tests.e2e.service import (
    READY_S,
    Topics,
    all_places,
    as_records,
    environment,
    events,
    source_places,
    stop_in_order,
    wait_for_event,
    wait_for_outputs,
    ztf_packets,
)
from tests.support.kafka import KafkaBroker
from tests.support.process import ServerProcess, wait_until

pytestmark = pytest.mark.service

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

PATIENCE_S = 2.0

N_PACKETS = 1000

SLOW_S = 4.0
"""How long a broker stands still: longer than a healthy answer takes, shorter than the stop's deadline."""


def ask(process: ServerProcess, path: str) -> tuple[int, dict[str, Any]]:
    """Return status and body of a health page of a process that serves it."""
    (port,) = [event["port"] for event in events(process) if event["event"] == "health_served"]
    try:
        with DIRECT.open(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.fixture
def packets(data_dir: Path) -> tuple[bytes, ...]:
    return tuple(sorted(ztf_packets(data_dir), key=len))[:N_PACKETS]


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_with_its_broker_away_the_service_is_alive_and_not_ready(
    private_kafka: Callable[..., KafkaBroker],
    topic: Callable[[str], str],
    packets: tuple[bytes, ...],
    run: StartRun,
    delivery: str,
) -> None:
    broker = private_kafka()
    topics = Topics(broker, topic)
    broker.produce(topics.input, as_records(packets))
    flags = ["--batch-max", "16", "--ack-timeout-s", "2", "--ready-patience-s", str(PATIENCE_S)]
    process = run([*topics.flags, *flags, "--delivery", delivery, "--metrics-port", "0"])
    wait_for_event(process, "health_served")
    assert ask(process, "/readyz")[0] == 503
    assert ask(process, "/healthz") == (200, {"alive": True, "why": []})
    wait_for_outputs(topics, 100, process)
    assert ask(process, "/readyz") == (200, {"ready": True, "why": []})
    broker.kill()
    wait_until(lambda: ask(process, "/readyz")[0] == 503, what="a no", timeout_s=60.0)
    status, said = ask(process, "/readyz")
    assert status == 503
    assert any("has failed for" in why for why in said["why"])
    assert ask(process, "/healthz")[0] == 200
    broker.restart()
    wait_until(lambda: ask(process, "/readyz")[0] == 200, what="readiness", timeout_s=60.0)
    process.wait_ready(lambda: topics.committed() == N_PACKETS, timeout_s=90.0)
    assert stop_in_order(process) == 0
    assert set(source_places(topics.verdicts(N_PACKETS))) == all_places(topics)


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_stop_finishes_its_batch_though_the_broker_is_slow(
    private_kafka: Callable[..., KafkaBroker],
    topic: Callable[[str], str],
    packets: tuple[bytes, ...],
    run: StartRun,
    delivery: str,
) -> None:
    broker = private_kafka()
    topics = Topics(broker, topic)
    broker.produce(topics.input, as_records(packets))
    process = run([*topics.flags, "--batch-max", "16", "--delivery", delivery])
    wait_for_outputs(topics, 100, process)
    os.kill(broker.process.pid, signal.SIGSTOP)
    begun = time.monotonic()
    threading.Timer(SLOW_S, os.kill, (broker.process.pid, signal.SIGCONT)).start()
    assert stop_in_order(process) == 0
    assert time.monotonic() - begun > SLOW_S, "it was not slow when it mattered"
    committed, verdicts = topics.committed(), topics.verdicts(0)
    assert 0 < committed < N_PACKETS  # the outputs that were waited for may be marks of transactions
    # Nothing was sent that is not committed, and nothing committed that was not sent.
    assert len(verdicts) == committed
    assert set(source_places(verdicts).values()) == {1}


STUCK_ON_SIGNAL = """
import ctypes, signal
from broker_plugin.cli import main
from broker_plugin.service import watchdog

watchdog.STUCK_S = 1.0
signal.signal(signal.SIGUSR1, lambda *_: ctypes.PyDLL(None).sleep(600))
main()
"""
"""On the signal the loop is stuck in compiled code that keeps the interpreter's lock."""


def test_a_service_whose_loop_is_stuck_ends_for_its_supervisor_though_nobody_asks_for_its_health(
    kafka_broker: KafkaBroker, topic: Callable[[str], str], tmp_path: Path
) -> None:
    flags = [*Topics(kafka_broker, topic).flags, "--stop-deadline-s", "0", "--ack-timeout-s", "0.5"]
    process = ServerProcess(
        "stuck",
        [sys.executable, "-c", STUCK_ON_SIGNAL, "run", "--survey", "ztf", "--device", "cpu", *flags],
        log_path=tmp_path / "stuck.log",
        environment=environment(tmp_path),
    )
    process.start()
    try:
        wait_for_event(process, "started")
        running = process._process
        assert running is not None
        running.send_signal(signal.SIGUSR1)
        assert running.wait(READY_S) == 1
        assert "in serve" in process.tail(200)
    finally:
        process.kill()
