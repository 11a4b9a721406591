# SPDX-License-Identifier: BSD-3-Clause
"""The processes of one group under a supervisor, who starts again what ended by itself."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.service import start_run, stop_in_order
from tests.support.memory import peak_mb
from tests.support.process import ServerProcess

__all__ = ["Team", "Worker"]

PAUSE_S = 1.0
"""What a supervisor waits before it starts a process again that ended by itself."""

CHANGES = frozenset({"partitions_assigned", "partitions_revoked", "partitions_lost"})
"""Events by which a process says that its share of the input has changed."""

ORDERLY = (0, -signal.SIGTERM)
"""How a process ends that is told to: the latter if it had not begun yet."""


class Worker:
    """One place in the team: a process, and after its end the next one.

    Parameters
    ----------
    folder, flags
        As for `start_run`.
    name
        Of the place; `<folder>/<name>.log` is the log of all its processes.
    """

    def __init__(self, folder: Path, flags: Sequence[str], *, survey: str, name: str) -> None:
        self._folder = folder
        self._flags = flags
        self._survey = survey
        self.name = name
        self.process: ServerProcess | None = None
        self.peak_rss_mb = 0.0
        self.dismissed = False
        self._log_begun = 0
        self._held: set[int] = set()

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.alive

    @property
    def exit_status(self) -> int | None:
        """The status with which its process has ended by itself."""
        running = None if self.process is None else self.process._process
        return None if running is None else running.poll()

    def release(self) -> None:
        """Clear away what its process has left."""
        assert self.process is not None
        self.process.kill()

    def start(self) -> None:
        """Start a process."""
        self._held = self.partitions()
        self.dismissed = False
        log = self._folder / f"{self.name}.log"
        self._log_begun = log.stat().st_size if log.exists() else 0
        self.process = start_run(self._folder, self._flags, survey=self._survey, name=self.name)

    def kill(self) -> None:
        """End its process at once (SIGKILL)."""
        assert self.process is not None
        self.note_memory()
        self.process.kill()

    def stop(self) -> int:
        """End its process in order and return the exit status."""
        assert self.process is not None
        self.note_memory()
        return stop_in_order(self.process)

    def dismiss(self) -> None:
        """Ask its process to end, and do not wait for that."""
        assert self.process is not None
        self.note_memory()
        self.dismissed = True
        os.kill(self.process.pid, signal.SIGTERM)

    def note_memory(self) -> None:
        """Take down the most memory that its process has had."""
        if self.process is not None and self.process.alive:
            self.peak_rss_mb = max(self.peak_rss_mb, peak_mb(self.process.pid))

    def events(self) -> list[dict[str, object]]:
        """Return what its present process has logged."""
        if self.process is None:
            return []
        with self.process.log_path.open("rb") as log:
            log.seek(self._log_begun)
            lines = log.read().splitlines()
        # The last line may be half written.
        return [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]

    def partitions(self) -> set[int]:
        """Return the input partitions that its process holds, as it says.

        One that has not joined yet is taken to be given what its predecessor held.
        """
        joined = [event for event in self.events() if event["event"] in CHANGES]
        held = set() if joined else set(self._held)
        for event in joined:
            names = event.get("partitions") or ()
            assert isinstance(names, list | tuple)
            numbers = {int(str(name).rpartition("[")[2].rstrip("]")) for name in names}
            if event["event"] == "partitions_assigned":
                held |= numbers
            else:
                held -= numbers
        return held


class Team:
    """Workers of one group.

    Parameters
    ----------
    folder
        Of their logs and locks.
    flags
        Of each of them.
    """

    def __init__(self, folder: Path, flags: Sequence[str], *, survey: str = "ztf") -> None:
        self._folder = folder
        self._flags = list(flags)
        self._survey = survey
        self._due: dict[Worker, float] = {}
        self.workers: list[Worker] = []
        self.exits: Counter[int] = Counter()

    @property
    def serving(self) -> list[Worker]:
        """Those who are not dismissed."""
        return [worker for worker in self.workers if not worker.dismissed]

    def hire(self) -> Worker:
        """Start one more worker, in a place that is vacant or a new one."""
        vacant = (worker for worker in self.workers if worker.dismissed and not worker.alive)
        worker = next(vacant, None)
        if worker is None:
            name = f"worker-{len(self.workers)}"
            worker = Worker(self._folder, self._flags, survey=self._survey, name=name)
            self.workers.append(worker)
        elif worker.process is not None:
            worker.release()
        worker.start()
        return worker

    def supervise(self) -> None:
        """Start what ended by itself again, after a pause, and take down its exit status."""
        for worker in self.workers:
            if worker.alive:
                worker.note_memory()
            elif (status := worker.exit_status) is not None:
                worker.release()
                if not worker.dismissed or status not in ORDERLY:
                    self.exits[status] += 1
                if not worker.dismissed:
                    self._due[worker] = time.monotonic() + PAUSE_S
            elif time.monotonic() >= self._due.get(worker, float("inf")):
                del self._due[worker]
                worker.start()

    def stop(self) -> None:
        """End all in order."""
        for worker in self.workers:
            if worker.alive:
                status = worker.stop()
                has_begun = bool(worker.events())
                assert status == 0 or (status in ORDERLY and not has_begun), (
                    f"{worker.name} ended with {status}"
                )

    def kill(self) -> None:
        """End all at once."""
        for worker in self.workers:
            if worker.process is not None:
                worker.process.kill()

    @property
    def peak_rss_mb(self) -> float:
        """The most memory that one of the processes has had."""
        return max((worker.peak_rss_mb for worker in self.workers), default=0.0)
