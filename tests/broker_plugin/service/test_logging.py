# SPDX-License-Identifier: BSD-3-Clause
"""The log is lines of JSON on standard error, from us and from the libraries, without anyone's variables."""

from __future__ import annotations

import json
import logging
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog

from broker_plugin.service.logging import configure_logging
from broker_plugin.signals import stop_on_signal


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_events_of_all_are_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info")
    structlog.get_logger("ours").info("batch_delivered", messages=3)
    structlog.get_logger("ours").debug("alert_rejected")
    logging.getLogger("librdkafka").error("FAIL %s", "broker")
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.err.splitlines()]
    assert captured.out == ""
    assert [(line["event"], line["level"], line["logger"]) for line in lines] == [
        ("batch_delivered", "info", "ours"),
        ("FAIL broker", "error", "librdkafka"),
    ]
    assert lines[0]["messages"] == 3
    assert all(line["timestamp"].endswith("Z") for line in lines)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_unless_a_person_looks_on_events_are_json(*, is_terminal: bool) -> None:
    script = (
        "import structlog; from broker_plugin.service.logging import configure_logging\n"
        "configure_logging(); structlog.get_logger().info('started', group='g')"
    )
    ours, theirs = pty.openpty() if is_terminal else os.pipe()
    try:
        subprocess.run([sys.executable, "-c", script], stderr=theirs, check=True)
        logged = os.read(ours, 4096).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    if is_terminal:
        assert "started" in logged
        assert not logged.startswith("{")
    else:
        assert json.loads(logged)["group"] == "g"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_variables(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    configure_logging(log_format, "info")  # type: ignore[arg-type]
    magnitude = "-".join(["17", "31"])
    try:
        len(magnitude) // 0
    except ZeroDivisionError:
        structlog.get_logger("ours").exception("batch_failed")
    logged = capsys.readouterr().err
    assert "ZeroDivisionError" in logged
    assert magnitude not in logged


def test_a_signal_sets_the_event_and_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    stop = threading.Event()
    with stop_on_signal(stop):
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5.0)
        # The next one would end the process.
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
