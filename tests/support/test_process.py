# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.artefacts import REPOSITORY
from tests.support.process import (
    LOOPBACK,
    ServerFailedError,
    ServerProcess,
    free_ports,
    port_open,
    wait_until,
)

ORPHAN = """
import sys, time
from pathlib import Path
from tests.support.process import ServerProcess
server = ServerProcess("a sleeper", ["sleep", "600"], log_path=Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""

HANGING = """
import time
def wait_for_a_clear_sky():
    print(1, flush=True)
    time.sleep(60)
wait_for_a_clear_sky()
"""

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(1, flush=True)
time.sleep(60)
"""


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        # a process that has ended, but that nobody has waited for yet, does not run
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:  # waited for meanwhile
        return False


def test_a_server_that_ends_while_starting_shows_the_end_of_its_log(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "echo cannot open the dome; exit 3"]
    server = ServerProcess("the dome", command, log_path=tmp_path / "log")
    server.start()
    with pytest.raises(ServerFailedError, match=r"(?s)the dome ended while starting.*cannot open the dome"):
        server.wait_ready(lambda: False, timeout_s=10.0)
    server.stop()


def test_a_server_that_never_serves_is_given_up(tmp_path: Path) -> None:
    server = ServerProcess("a sleeper", ["sleep", "60"], log_path=tmp_path / "log")
    server.start()
    with pytest.raises(ServerFailedError, match=r"did not serve within 0\.2 s"):
        server.wait_ready(lambda: False, timeout_s=0.2)
    server.kill()
    assert not server.alive


def test_a_python_process_that_hangs_shows_where(tmp_path: Path) -> None:
    log = tmp_path / "log"
    server = ServerProcess(
        "a hanging one",
        [sys.executable, "-c", HANGING],
        log_path=log,
        environment={"PYTHONFAULTHANDLER": "1"},
    )
    server.start()
    wait_until(lambda: log.read_text() == "1\n", what="it hangs")
    with pytest.raises(ServerFailedError, match=r"(?s)did not serve within 0\.2 s.* in wait_for_a_clear_sky"):
        server.wait_ready(lambda: False, timeout_s=0.2)
    server.kill()


def test_a_server_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    server = ServerProcess("a stubborn one", [sys.executable, "-c", STUBBORN], log_path=tmp_path / "log")
    server.start()
    wait_until(lambda: server.log_path.read_text() == "1\n", what="the handler is set")
    pid = server.pid
    start = time.monotonic()
    server.stop(timeout_s=0.3)
    assert not running(pid)
    assert time.monotonic() - start >= 0.3  # it was asked, and waited for, first


def test_a_server_dies_with_tests_that_are_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(tmp_path / "log")], stdout=subprocess.PIPE, cwd=REPOSITORY
    ) as tests:
        assert tests.stdout is not None
        pid = int(tests.stdout.readline())
        assert running(pid)
        tests.send_signal(signal.SIGKILL)
        tests.wait()
    wait_until(lambda: not running(pid), what="the server has followed the tests", timeout_s=10.0)


def test_ports_are_free_and_never_those_of_outgoing_connections() -> None:
    ports = free_ports(8)
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert len(set(ports)) == 8
    for port in ports:
        assert not low <= port <= high
        with socket.socket() as listener:
            listener.bind((LOOPBACK, port))
            listener.listen()
            assert port_open(port)
        assert not port_open(port)
