# SPDX-License-Identifier: BSD-3-Clause
"""Every error that is raised on purpose reaches the user as a message and a status."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cyclopts import App

from broker_plugin import cli
from broker_plugin.errors import (
    BatchAbandonedError,
    BrokerPluginError,
    BundleError,
    ConfigurationError,
    MembershipLostError,
    RejectedAlert,
    RejectReason,
    TokenError,
    TransientError,
)
from broker_plugin.service.exit_status import exit_status
from broker_plugin.signals import InterruptedBySignal


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BrokerPluginError("the consumer stopped: why"), 1),
        (RejectedAlert(RejectReason.EMPTY, "no alert"), 1),
        (ConfigurationError("change this"), 2),
        (BundleError("another bundle"), 2),
        (TransientError("Kafka is away"), 75),
        (MembershipLostError("the group refuses this member"), 75),
        (TokenError("the identity provider is away"), 75),
    ],
)
def test_an_error_of_ours_is_a_message_and_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BrokerPluginError, status: int
) -> None:
    def make_app(chosen: str = "") -> App:
        app = App(name=chosen)

        @app.command
        def fail() -> None:
            raise error

        return app

    monkeypatch.setattr(cli, "make_app", make_app)
    with pytest.raises(SystemExit) as ended:
        cli.main(["fail"])
    assert ended.value.code == status
    assert capsys.readouterr().err.startswith(f"broker-plugin: {error}")


@pytest.mark.parametrize("error_type", [TransientError, MembershipLostError, TokenError, BatchAbandonedError])
def test_an_error_that_says_what_to_do_is_not_advised_to_wait(
    error_type: type[BrokerPluginError],
) -> None:
    assert exit_status(error_type("found")) == (75, "broker-plugin: found; try again later")
    assert exit_status(error_type("found", remedy="mend it")) == (75, "broker-plugin: found; mend it")


BUSY = """
import atexit, signal, threading, time
from cyclopts import App
from broker_plugin import cli
from broker_plugin.expendable import ExpendableThread
from broker_plugin.signals import InterruptedBySignal

class Busy(ExpendableThread):
    def run(self):
        self.at_work = True
        begun.set()
        time.sleep(60.0)

def fail() -> None:
    raise ZeroDivisionError

def make_app(chosen: str = "") -> App:
    app = App()
    app.command(fail)
    return app

begun = threading.Event()
Busy("busy").start()
begun.wait()
atexit.register(print, "taken down")
cli.make_app = make_app
"""

OF_A_CONTAINER = """
signal.raise_signal = lambda number: None
InterruptedBySignal(signal.SIGTERM).end_process()
"""


@pytest.mark.parametrize(
    ("end", "status"),
    [("cli.main(['fail'])", 1), (OF_A_CONTAINER, 143)],
    ids=["unexpected", "first of a container"],
)
def test_no_end_takes_the_interpreter_down_around_a_thread_at_work(end: str, status: int) -> None:
    command = [sys.executable, "-c", BUSY + end]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr == "" or done.stderr.endswith("\nZeroDivisionError\n")


def test_the_first_process_of_a_container_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "raise_signal", lambda number: None)  # as the kernel takes it there
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    with pytest.raises(SystemExit) as ended:
        InterruptedBySignal(signal.SIGTERM).end_process()
    assert ended.value.code == 128 + signal.SIGTERM


STOPPED = """
import signal, sys
from pathlib import Path
from cyclopts import App
from broker_plugin import cli
from broker_plugin.streams.output_files import complete_files

def work(out: Path, number: int) -> None:
    print("at work")
    with complete_files(out):
        signal.raise_signal(number)

def make_app(chosen: str = "") -> App:
    app = App()
    app.command(work)
    return app

cli.make_app = make_app
cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_a_signal_stops_says_so_and_leaves_no_part_of_its_output(
    tmp_path: Path, number: signal.Signals
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", STOPPED, "work", str(tmp_path / "out"), str(int(number))],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (-number, "at work\n")
    assert ended.stderr == f"broker-plugin: stopped by {number.name}\n"
    assert not list(tmp_path.iterdir())


def test_a_pipe_that_nobody_reads_is_no_traceback(tmp_path: Path) -> None:
    packets, verdicts = tmp_path / "junk.avro", tmp_path / "verdicts.jsonl"
    packets.write_bytes(b"no packet")
    with pytest.raises(SystemExit):
        cli.main(["replay", str(packets), "--out", str(verdicts)])
    command = ["dlq", "list", "--file", f"{verdicts}.dead.jsonl", "--each"]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as unread:
        done = subprocess.run(
            [sys.executable, "-m", "broker_plugin", *command],
            stdout=unread,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (cli.EXIT_UNREAD, b"")


def test_a_pipe_that_is_not_the_output_is_no_closed_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def make_app(chosen: str = "") -> App:
        app = App(name=chosen)

        @app.command
        def fail() -> None:
            raise BrokenPipeError(errno.EPIPE, "of a worker")

        return app

    monkeypatch.setattr(cli, "make_app", make_app)
    with Path(os.devnull).open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(BrokenPipeError):
            cli.main(["fail"])


def test_a_closed_standard_error_changes_no_status() -> None:
    command = [
        sys.executable,
        "-m",
        "broker_plugin",
        "subscribe",
        "--topic",
        "a b",
        "--bootstrap",
        "127.0.0.1:9",
    ]
    ended = subprocess.run(
        ["sh", "-c", f"{shlex.join(command)} 2>&-"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (2, "")


def test_no_room_for_what_is_printed_is_said_without_a_traceback() -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "broker_plugin", "inspect", "default"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    told = "broker-plugin: there is no room left where the output goes\n"
    assert (ended.returncode, ended.stderr) == (2, told)
