# SPDX-License-Identifier: BSD-3-Clause
"""What systemd or a terminal sends to all processes at once ends `run --workers N` in order as it starts."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.conftest import StartRun
from tests.e2e.service import READY_S, events
from tests.support.process import LOOPBACK, free_ports, wait_until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_while_the_workers_start_is_an_end_in_order(
    run: StartRun, number: signal.Signals
) -> None:
    (port,) = free_ports(1)
    topics = ["--input", "alerts", "--output", "verdicts", "--dead-letters", "dead", "--group", "night"]
    process = run(["--bootstrap", f"{LOOPBACK}:{port}", *topics, "--workers", "2"])
    process.wait_ready(
        lambda: [found["event"] for found in events(process)].count("worker_started") == 2, timeout_s=READY_S
    )
    os.killpg(process.pid, number)
    wait_until(lambda: not process.alive, timeout_s=READY_S, what="its end")
    assert process._process is not None
    assert process._process.returncode == 0
    assert events(process)[-1]["statuses"] == [0, 0]
    assert "Traceback" not in process.log_path.read_text("utf-8")
