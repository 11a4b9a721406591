# SPDX-License-Identifier: BSD-3-Clause
"""A worker that cannot be started takes none of the others with it, and each ends with its own status."""

from __future__ import annotations

import atexit
import errno
import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

from broker_plugin.errors import BatchAbandonedError
from broker_plugin.expendable import ExpendableThread
from broker_plugin.pipeline.backoff import Backoff
from broker_plugin.service import workers
from broker_plugin.service.workers import supervise
from broker_plugin.settings import Settings
from tests.support.process import wait_until


class Machine:
    """A machine that may run out of processes. What it makes are threads that live until they are told."""

    Pipe = staticmethod(multiprocessing.Pipe)

    def __init__(self) -> None:
        self.is_full = False
        self.refused = 0
        self.started: list[Worker] = []

    def Process(self, *, target: Callable[..., None], args: tuple[Any, ...], name: str) -> Worker:  # noqa: N802
        return Worker(self, Connection(os.dup(args[-1].fileno())))


class Worker:
    """A process as its parent sees it."""

    def __init__(self, machine: Machine, pipe: Connection) -> None:
        self.pid, self.exitcode, self.killed, self.heard = 1, 0, False, ""
        self._machine, self._pipe = machine, pipe
        self._ended = threading.Event()
        self._life = threading.Thread(target=self._live)

    def start(self) -> None:
        if self._machine.is_full:
            self._machine.refused += 1
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self._life.start()
        self._machine.started.append(self)

    def _live(self) -> None:
        with self._pipe:
            while not (self._ended.is_set() or self.heard):
                if self._pipe.poll(0.01):
                    self.heard = self._pipe.recv()

    def is_alive(self) -> bool:
        return self._life.is_alive()

    def join(self, timeout: float | None = None) -> None:
        self._life.join(timeout)

    def end(self) -> None:
        self.exitcode = -9
        self._ended.set()

    def kill(self) -> None:
        self.killed = True
        self.end()


def test_a_machine_without_room_for_a_process_costs_one_worker_and_not_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine, stop, statuses = Machine(), threading.Event(), list[int]()
    monkeypatch.setattr(workers.multiprocessing, "get_context", lambda how: machine)
    monkeypatch.setattr(workers, "RESTARTS", Backoff(first_s=0.01, cap_s=0.01))
    monkeypatch.setattr(workers, "LOOK_S", 0.01)

    def run() -> None:
        statuses.append(supervise(Settings(workers=2), stop, hurry=threading.Event()))

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: len(machine.started) == 2, timeout_s=10, what="both run")
    first, second = machine.started
    machine.is_full = True
    first.end()
    wait_until(lambda: machine.refused > 2, timeout_s=10, what="it is tried again and again")
    assert second.is_alive()
    machine.is_full = False
    wait_until(lambda: len(machine.started) == 3, timeout_s=10, what="there is room again")
    stop.set()
    thread.join(10)
    assert statuses == [0]
    assert [(each.heard, each.killed) for each in (second, machine.started[2])] == [("stop", False)] * 2


TAKEN_DOWN = 99
"""Status of a worker whose interpreter was taken down, which aborts it where compiled code is at work."""

ENDS = {
    "given up": (BatchAbandonedError("a batch is given up"), 75),
    "unexpected": (ZeroDivisionError(), 1),
    "in order": (None, 0),
}


class Busy(ExpendableThread):
    """A batch that nobody waits for."""

    def run(self) -> None:
        self.at_work = True
        threading.Event().wait()


def work_with_a_thread_left(how: str, pipe: Connection) -> None:
    """Be a worker whose service ends while a batch is still being judged."""

    def serve(*given: object, **named: object) -> None:
        busy = Busy("judge")
        busy.start()
        wait_until(lambda: busy.at_work, timeout_s=10, what="its work")
        if (error := ENDS[how][0]) is not None:
            raise error

    workers.serve = serve
    atexit.register(os._exit, TAKEN_DOWN)
    workers._work(Settings().model_dump(), 0, 1, pipe)


@pytest.mark.parametrize("how", ENDS)
def test_a_worker_is_not_taken_down_around_a_batch_that_it_leaves(how: str) -> None:
    context = multiprocessing.get_context("spawn")
    there, pipe = context.Pipe(duplex=False)
    process = context.Process(target=work_with_a_thread_left, args=(how, there))
    process.start()
    process.join(60)
    pipe.close()
    assert process.exitcode == ENDS[how][1]
