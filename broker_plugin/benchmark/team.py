# SPDX-License-Identifier: BSD-3-Clause
"""Processes that work on one corpus at the same time, each on its part, as the members of a group do."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self

from broker_plugin.benchmark.corpus import read_values
from broker_plugin.benchmark.measuring import Effort
from broker_plugin.benchmark.memory import peak_bytes
from broker_plugin.errors import BrokerPluginError, TransientError
from broker_plugin.parent import end_with_parent

__all__ = ["Counts", "OpenWork", "Task", "Team", "Work"]

END_S = 5.0
"""A process that was told to end has nothing to do but to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of messages, and in how many batches they were worked on."""

    verdicts: int = 0
    dead_letters: int = 0
    batches: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            verdicts=self.verdicts + other.verdicts,
            dead_letters=self.dead_letters + other.dead_letters,
            batches=self.batches + other.batches,
        )


Work = Callable[[Sequence[bytes]], Counts]
"""From the messages of one batch to encoded verdicts."""

OpenWork = Callable[[], Work]
"""Makes it, in a process of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a process is to do, and how often.

    Parameters
    ----------
    corpus
        Name of the corpus.
    part, parts
        Its messages are dealt out to so many processes, and this one has this part.
    batch
        Messages at a time.
    passes
        How often the part is gone through.
    messages_max
        Only so many messages of the corpus, all processes together.
    """

    corpus: str
    part: int = 0
    parts: int = 1
    batch: int = 256
    passes: int = 1
    messages_max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    counts: Counts
    effort: Effort
    peak_bytes: int


class Team:
    """Processes that wait for tasks; use it as a context manager.

    Parameters
    ----------
    open_work
        Makes the work in each process; must be importable there.
    folder
        Where the corpora are.
    workers
        How many processes.

    Attributes
    ----------
    ready
        How long all took to be ready, and the processor time of one of them.
    peak_bytes
        Most memory that one of them has used so far, the corpora that it has read included.

    Raises
    ------
    BrokerPluginError
        If the work cannot be opened, or fails.
    TransientError
        If a process is killed.
    """

    def __init__(self, open_work: OpenWork, folder: Path, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._begun = time.perf_counter()
        self.ready = Effort(wall_s=0.0, cpu_s=0.0)
        self.peak_bytes = 0
        self._members: list[tuple[multiprocessing.process.BaseProcess, Connection]] = []
        for _ in range(workers):
            here, there = context.Pipe()
            process = context.Process(target=_attend, args=(there, open_work, folder), daemon=True)
            process.start()
            there.close()
            self._members.append((process, here))

    def __enter__(self) -> Self:
        try:
            done = [_answer(connection) for _, connection in self._members]
        except BaseException:
            self._end()
            raise
        cpu_s = sum(each.effort.cpu_s for each in done) / max(len(done), 1)
        self.ready = Effort(wall_s=time.perf_counter() - self._begun, cpu_s=cpu_s)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def measure(self, task: Task, *, workers: int | None = None) -> tuple[Counts, Effort]:
        """Return what became of the messages of one pass, and what one took all processes together.

        Parameters
        ----------
        task
            What to do; its part is every process's own.
        workers
            How many of the processes are to work; by default all.
        """
        members = self._members[:workers]
        begun = time.perf_counter()
        for number, (_, connection) in enumerate(members):
            connection.send(replace(task, part=number, parts=len(members)))
        done = [_answer(connection) for _, connection in members]
        wall_s = time.perf_counter() - begun
        self.peak_bytes = max(self.peak_bytes, *(each.peak_bytes for each in done))
        counts = sum((each.counts for each in done), Counts())
        cpu_s = sum(each.effort.cpu_s for each in done)
        return counts, Effort(wall_s=wall_s / task.passes, cpu_s=cpu_s / task.passes)

    def _end(self) -> None:
        for process, connection in self._members:
            with suppress(OSError):
                connection.send(None)
            process.join(END_S)
            if process.is_alive():
                process.kill()
                process.join()
            connection.close()


def _answer(connection: Connection) -> _Done:
    try:
        answer = connection.recv()
    except EOFError:
        raise TransientError(
            "a process ended before its work did; if for want of memory, use fewer --workers"
        ) from None
    if isinstance(answer, BrokerPluginError):
        raise answer
    done: _Done = answer
    return done


def _attend(connection: Connection, open_work: OpenWork, folder: Path) -> None:
    """Work on tasks until there are no more: the life of a process."""
    end_with_parent()
    try:
        work = open_work()
        ready = Effort(wall_s=0.0, cpu_s=time.process_time())
        connection.send(_Done(counts=Counts(), effort=ready, peak_bytes=peak_bytes()))
        values: dict[str, list[bytes]] = {}
        while (task := connection.recv()) is not None:
            if task.corpus not in values:
                values[task.corpus] = read_values(folder, task.corpus)
            part = values[task.corpus][: task.messages_max][task.part :: task.parts]
            connection.send(_done(work, part, task))
    except BrokerPluginError as error:
        connection.send(error)
    except EOFError:
        return  # nobody is left who could ask


def _done(work: Work, part: Sequence[bytes], task: Task) -> _Done:
    batches = [part[first : first + task.batch] for first in range(0, len(part), task.batch)]
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(task.passes):
        counts = sum((work(batch) for batch in batches), Counts())
    return _Done(
        counts=replace(counts, batches=len(batches)),
        effort=Effort(wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu),
        peak_bytes=peak_bytes(),
    )
