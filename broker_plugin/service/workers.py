# SPDX-License-Identifier: BSD-3-Clause
"""`run --workers N`: processes of one group on one machine, and the one that watches over them.

Each is a service of its own: a member of the consumer group with its own name, transactions, metrics and
health. The watching process reads nothing and writes nothing. It starts again whoever ends, passes on the
signals, and tells them to stop through a pipe and not by a signal: systemd and a terminal send theirs to all
processes at once, and a second one would end a process in the midst of its batch.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import structlog

from broker_plugin.errors import BrokerPluginError
from broker_plugin.expendable import leave, leaving_on_surprise
from broker_plugin.pipeline.backoff import Backoff
from broker_plugin.service.application import serve
from broker_plugin.service.exit_status import EXIT_CONFIGURATION, EXIT_FAILURE, exit_status, status_of_process
from broker_plugin.service.logging import configure_logging
from broker_plugin.settings import Settings
from broker_plugin.signals import held_back, let_through, stop_on_signal

__all__ = ["settings_of", "supervise"]

log = structlog.get_logger(__name__)

LOOK_S = 0.1
"""Time between two looks at the processes; bounds how late a signal is passed on."""

STEADY_S = 60.0
"""Whoever ran for so long and ends is started again without a pause to speak of."""

RESTARTS = Backoff(first_s=0.5, cap_s=30.0)
"""Pauses before the restarts of a process that ends again and again."""

STOP_MARGIN_S = 15.0
"""Beyond its own deadline a process may take so long to leave its group; then it is killed."""

STOP, HURRY = "stop", "hurry"


@dataclass(slots=True)
class _Member:
    """One place among the workers, whichever process fills it now."""

    number: int
    pauses: Iterator[float] = field(default_factory=RESTARTS.pauses)
    process: BaseProcess | None = None
    pipe: Connection | None = None
    started: float = 0.0
    due: float = 0.0

    def tell(self, what: str) -> None:
        """Pass something on; a process that has ended does not hear it."""
        if self.pipe is not None:
            with suppress(OSError):
                self.pipe.send(what)


def settings_of(settings: Settings, number: int) -> Settings:
    """Return the settings of one worker: its own name within the group and its own port.

    Examples
    --------
    >>> settings = Settings(workers=2, instance="vm1", metrics_port=9100)
    >>> [(one.instance, one.metrics_port) for one in (settings_of(settings, n) for n in (0, 1))]
    [('vm1-0', 9100), ('vm1-1', 9101)]
    """
    changed: dict[str, Any] = {"workers": 1}
    if settings.instance:
        changed["instance"] = f"{settings.instance}-{number}"
    if settings.metrics_port:
        changed["metrics_port"] = settings.metrics_port + number
    return settings.model_copy(update=changed)


def supervise(settings: Settings, stop: threading.Event, *, hurry: threading.Event) -> int:
    """Run the workers until the stop event, and return the exit status.

    Parameters
    ----------
    settings
        As for `serve`; `workers` says how many.
    stop
        Set it to stop all of them in order.
    hurry
        Set it to have each look at the bundle repository now.

    Returns
    -------
    status
        0 where all have stopped in order; else the first status of one that did not, 128 and the signal if
        one ended it. Settings that cannot work stop all of them.
    """
    members = [_Member(number=number) for number in range(settings.workers)]
    log.info("workers_started", workers=settings.workers, group=settings.group)
    refused = False
    try:
        while not (stop.is_set() or refused):
            if hurry.is_set():
                hurry.clear()
                for member in members:
                    member.tell(HURRY)
            refused = True in [_look_after(member, settings) for member in members]
            stop.wait(LOOK_S)
        statuses = _stop(members, settings.stop_deadline_s + STOP_MARGIN_S)
    finally:
        for member in members:
            if member.process is not None and member.process.is_alive():
                member.process.kill()
                member.process.join()
    log.info("workers_stopped", statuses=statuses)
    return EXIT_CONFIGURATION if refused else next(filter(None, map(status_of_process, statuses)), 0)


def _look_after(member: _Member, settings: Settings) -> bool:
    """Start a worker that is not there, once its pause is over; tell whether its settings cannot work."""
    process, now = member.process, time.monotonic()
    if process is not None:
        if process.is_alive():
            return False
        status = process.exitcode
        member.process = None
        if status == EXIT_CONFIGURATION:
            return True
        if now - member.started > STEADY_S:
            member.pauses = RESTARTS.pauses()
        log.warning("worker_ended", worker=member.number, status=status, restart_in_s=_pause(member))
    if now >= member.due:
        try:
            _start(member, settings)
        except OSError as error:  # no process or no memory is left; the others go on
            why = error.strerror or str(error)
            log.warning("worker_not_started", worker=member.number, why=why, again_in_s=_pause(member))
    return False


def _pause(member: _Member) -> float:
    """Let a worker wait before its next start, and return for how many seconds."""
    pause_s = next(member.pauses)
    member.due = time.monotonic() + pause_s
    return round(pause_s, 1)


def _start(member: _Member, settings: Settings) -> None:
    # A fresh interpreter: ONNX Runtime's and librdkafka's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    there, member.pipe = context.Pipe(duplex=False)
    own = settings_of(settings, member.number)
    process = context.Process(
        # As plain values: the class of settings that were read from several sources is not importable.
        target=_work,
        args=(own.model_dump(), member.number, settings.workers, there),
        name=f"worker-{member.number}",
    )
    with held_back():
        process.start()
    there.close()
    member.process, member.started = process, time.monotonic()
    log.info("worker_started", worker=member.number, pid=process.pid)


def _stop(members: list[_Member], deadline_s: float) -> list[int | None]:
    """Tell all to stop, wait for them, and return their statuses; None where there was no process."""
    for member in members:
        member.tell(STOP)
    end = time.monotonic() + deadline_s
    for member in members:
        if member.process is not None:
            member.process.join(max(0.0, end - time.monotonic()))
            if member.process.is_alive():
                log.warning("worker_killed", worker=member.number, after_s=deadline_s)
                member.process.kill()
                member.process.join()
    return [None if member.process is None else member.process.exitcode for member in members]


def _work(values: dict[str, Any], number: int, workers: int, pipe: Connection) -> None:
    """Be a worker: the life of its process. The first one looks whether there is work for all."""
    settings = Settings(**values)
    configure_logging(settings.log_format, settings.log_level)
    structlog.contextvars.bind_contextvars(worker=number)
    stop, hurry = threading.Event(), threading.Event()
    threading.Thread(target=_listen, args=(pipe, stop, hurry), name="parent", daemon=True).start()
    with stop_on_signal(stop):
        for each in (signal.SIGINT, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)  # a terminal's reach all; the parent says what they mean
        let_through()
        if stop.is_set():
            return
        status = 0
        with leaving_on_surprise():
            try:
                serve(settings, stop, hurry=hurry, workers=workers if number == 0 else 1, worker=number)
            except BrokerPluginError as error:
                status, line = exit_status(error)
                sys.stderr.write(f"{line}\n")
        leave(status)


def _listen(pipe: Connection, stop: threading.Event, hurry: threading.Event) -> None:
    """Do what the parent says, and end with it, however it ends."""
    try:
        while True:
            (stop if pipe.recv() == STOP else hurry).set()
    except (EOFError, OSError):
        # Nobody would start us again, and whoever takes our place needs our name.
        os._exit(EXIT_FAILURE)
