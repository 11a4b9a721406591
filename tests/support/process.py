# SPDX-License-Identifier: BSD-3-Clause
"""A server process that a test starts, waits for, and kills.

Every server listens on loopback, writes its output to a log file whose tail goes into the error
when it fails, and dies with the process that started it, even when that process is itself killed.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

__all__ = [
    "LOOPBACK",
    "Server",
    "ServerFailedError",
    "ServerProcess",
    "ServerUnavailableError",
    "free_ports",
    "port_open",
    "wait_until",
]

LOOPBACK = "127.0.0.1"
"""A test server is never reachable from another machine."""

POLL_S = 0.05
"""Time between two looks at a condition; longer, and every server start costs up to that much more."""

STOP_S = 20.0
"""A server that ignores SIGTERM for this long is killed, so that a stuck one cannot hang the run."""

FIRST_PORT = 15_000
"""Below lie the ports that well-known services take."""

TAIL_LINES = 40
"""Enough of a log to hold a Java stack trace, little enough to read in a test report."""

STACKS_LINES = 200
"""What a Python process of a dozen threads writes about where each of them stands."""

STACKS_S = 5.0
"""Longest wait until it has."""


class ServerUnavailableError(RuntimeError):
    """The server's program cannot be had on this machine; the message says how to get it."""


class ServerFailedError(RuntimeError):
    """The server's program is here but did not start, or died; the message ends with its log."""


class ServerProcess:
    """One program, its log, and the promise that it ends with the tests.

    Parameters
    ----------
    name
        What error messages call it.
    command
        Program and arguments.
    log_path
        Where standard output and error go, appended over restarts.
    environment
        Variables set over those of this process.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_path: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log_path = log_path
        self.environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise ServerFailedError(f"{self.name} is not running; call start() first")
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs now."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process, without waiting until it serves."""
        if self.alive:
            raise ServerFailedError(f"{self.name} runs already, as process {self.pid}")
        self._release()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                # Ctrl-C must reach the tests, which then end their servers in order.
                start_new_session=True,
            )
        self._watchdog = _watch(self._process.pid)

    def wait_ready(self, probe: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait until the probe holds; a failed server raises at once, with the tail of its log."""
        deadline = time.monotonic() + timeout_s
        while not probe():
            if not self.alive:
                raise ServerFailedError(f"{self.name} ended while starting. {self.tail()}")
            if time.monotonic() > deadline:
                late = f"{self.name} did not serve within {timeout_s:g} s."
                raise ServerFailedError(f"{late} {self._tail_with_stacks()}")
            time.sleep(POLL_S)

    def stop(self, *, timeout_s: float = STOP_S) -> None:
        """End the process in order (SIGTERM), by force if it does not follow."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._release()

    def kill(self) -> None:
        """End the process at once (SIGKILL), as a power cut would."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._release()

    def pause(self) -> None:
        """Stop the process where it is (SIGSTOP): its connections stay open, and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def tail(self, lines: int = TAIL_LINES) -> str:
        """Return the end of the log, introduced by where the whole of it is."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        end = "\n".join(text.splitlines()[-lines:]) or "(empty)"
        return f"End of {self.log_path}:\n{end}"

    def _tail_with_stacks(self) -> str:
        """End a Python process that enabled `faulthandler` so that it says where its threads stand."""
        if self._process is None or not self.environment.get("PYTHONFAULTHANDLER"):
            return self.tail()
        self._process.send_signal(signal.SIGABRT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STACKS_S)
        return self.tail(STACKS_LINES)

    def _release(self) -> None:
        if self._process is not None:
            self._process.wait()
            self._process = None
        if self._watchdog is not None:
            self._watchdog.communicate(b"released\n")
            self._watchdog = None


class Server(ABC):
    """A server of the tests' own: `with` starts it, and ends it at once when the block is left.

    Parameters
    ----------
    process
        Its program.
    """

    READY_S: ClassVar[float]

    def __init__(self, process: ServerProcess) -> None:
        self.process = process

    @abstractmethod
    def serves(self) -> bool:
        """Return whether it answers a client's simplest request."""

    def start(self) -> Self:
        """Start, and wait until it serves."""
        self.process.start()
        self.process.wait_ready(self.serves, timeout_s=self.READY_S)
        return self

    def stop(self) -> None:
        """Stop in order (SIGTERM)."""
        self.process.stop()

    def kill(self) -> None:
        """Stop at once (SIGKILL)."""
        self.process.kill()

    def pause(self) -> None:
        """Hold it as it is (SIGSTOP)."""
        self.process.pause()

    def resume(self) -> None:
        """Let it go on, and wait until it serves."""
        self.process.resume()
        self.process.wait_ready(self.serves, timeout_s=self.READY_S)

    def restart(self) -> Self:
        """Start again at the same address; a server that still runs is stopped in order first."""
        self.stop()
        return self.start()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.kill()
            raise

    def __exit__(self, *_: object) -> None:
        self.kill()


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nothing listens on.

    They lie below the range from which the system takes ports for outgoing connections. Inside it,
    a client that keeps trying a stopped server's port ends up connected to itself, or another
    connection is given that port, and the server cannot come back.
    """
    low, _ = _outgoing_ports()
    if low <= FIRST_PORT + count:
        return _ports_from_system(count)
    # Not the shared generator: hypothesis seeds that one, and two runs would want the same ports.
    candidates = random.SystemRandom().sample(range(FIRST_PORT, low), k=min(500, low - FIRST_PORT))
    ports = [port for port in candidates if _can_bind(port)][:count]
    return ports if len(ports) == count else _ports_from_system(count)


def port_open(port: int) -> bool:
    """Return whether something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def wait_until(condition: Callable[[], bool], *, what: str, timeout_s: float = 30.0) -> None:
    """Wait until the condition holds, or raise `TimeoutError` naming what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s in vain: {what}")
        time.sleep(POLL_S)


def _watch(pid: int) -> subprocess.Popen[bytes]:
    # The shell holds the reading end of a pipe. A line means that the server has been ended in
    # order; the pipe closing without one means that the tests are gone, and the server must go too.
    return subprocess.Popen(
        ["/bin/sh", "-c", f"read -r _ || kill -9 {pid} 2>/dev/null"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _outgoing_ports() -> tuple[int, int]:
    setting = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not setting.exists():
        return 49_152, 65_535  # the range that IANA sets aside, and that other systems use
    low, high = setting.read_text().split()
    return int(low), int(high)


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _ports_from_system(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
