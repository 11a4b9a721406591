# SPDX-License-Identifier: BSD-3-Clause
"""The service itself in processes of one group, each telling when it was done with which messages."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from broker_plugin.errors import BrokerPluginError, TransientError
from broker_plugin.pipeline.monitor import BatchOutcome
from broker_plugin.service.application import serve
from broker_plugin.service.logging import configure_logging
from broker_plugin.settings import Settings

__all__ = ["Members", "Progress"]

END_S = 60.0
"""Longest wait for a member that was told to stop: its batch, its commit and its leaving the group."""

LOOK_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """When some messages were done, verdicts acknowledged and offsets committed, and their own times."""

    delivered_s: float
    message_s: tuple[float, ...]
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What was delivered, by message (N,): its own time and the time when it was done, seconds of the epoch.

    `cpu_s` is the processor time of all members together since the progress before.
    """

    message_s: NDArray[np.float64]
    delivered_s: NDArray[np.float64]
    cpu_s: float


class Members:
    """Processes that each run the service; use it as a context manager.

    Parameters
    ----------
    settings
        Of the service; each member takes its own name in the group.
    workers
        How many.
    cores
        Where each is to stay, in turn; by default anywhere.
    """

    def __init__(self, settings: Mapping[str, Any], workers: int, *, cores: Sequence[int] = ()) -> None:
        context = multiprocessing.get_context("spawn")
        self._told: SimpleQueue[tuple[int, _Batch | Exception]] = SimpleQueue()
        self._processes: list[multiprocessing.process.BaseProcess] = []
        self._pipes: list[Connection] = []
        for number in range(workers):
            here, there = context.Pipe()
            own = {**settings, "instance": f"{settings['group']}-{number}"}
            core = cores[number % len(cores)] if cores else None
            process = context.Process(target=_serve, args=(own, there, core))
            process.start()
            there.close()
            self._processes.append(process)
            self._pipes.append(here)
            # All the time: a pipe holds the batches of some seconds, and who finds it full stands still.
            threading.Thread(
                target=self._hear, args=(number, here), name=f"member {number}", daemon=True
            ).start()
        self._cpu_s = [0.0] * workers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            with suppress(OSError):
                pipe.send(None)
        end = time.monotonic() + END_S
        for process in self._processes:
            process.join(max(0.0, end - time.monotonic()) if kind is None else 0.0)
            if process.is_alive():
                process.kill()
                process.join()

    @property
    def idle(self) -> int:
        """How many members have done nothing yet: they are still starting, or have no partition."""
        return self._cpu_s.count(0.0)

    @property
    def pids(self) -> list[int]:
        """The processes."""
        return [process.pid for process in self._processes if process.pid is not None]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have the members do nothing for a while, shorter than their session."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def progress(self, number: int, *, quiet_s: float) -> Progress:
        """Return what is delivered, once so many messages are, or after a while in which none was.

        Raises
        ------
        BrokerPluginError
            If a member could not go on; another error if what it told could not be read.
        """
        batches: list[_Batch] = []
        before_s, heard = sum(self._cpu_s), time.monotonic()
        while sum(len(batch.message_s) for batch in batches) < number and time.monotonic() < heard + quiet_s:
            try:
                place, told = self._told.get(timeout=LOOK_S)
            except Empty:
                continue
            if isinstance(told, Exception):
                raise told
            batches.append(told)
            self._cpu_s[place] = told.cpu_s
            heard = time.monotonic()
        return Progress(
            message_s=np.array([each for batch in batches for each in batch.message_s]),
            delivered_s=np.array([batch.delivered_s for batch in batches for _ in batch.message_s]),
            cpu_s=sum(self._cpu_s) - before_s,
        )

    def _hear(self, place: int, pipe: Connection) -> None:
        try:
            while True:
                self._told.put((place, pipe.recv()))
        except (EOFError, OSError):
            self._told.put((place, TransientError("a process of the service ended while it was measured")))
        except Exception as error:  # whatever a message holds that cannot be read; `progress` raises it
            self._told.put((place, error))

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.pids:
            os.kill(pid, number)


def _serve(values: dict[str, Any], pipe: Connection, core: int | None) -> None:
    """Run the service until the parent says so: the life of a member."""
    configure_logging(level="error")
    if core is not None:
        os.sched_setaffinity(0, {core})  # before there are other threads, which inherit it
    stop = threading.Event()
    threading.Thread(target=_listen, args=(pipe, stop), name="parent", daemon=True).start()
    try:
        serve(Settings(**values), stop, on_batch=_telling(pipe))
    except BrokerPluginError as error:
        with suppress(OSError):
            pipe.send(error)


def _telling(pipe: Connection) -> Callable[[BatchOutcome], None]:
    def tell(outcome: BatchOutcome) -> None:
        times = (judgement.message.timestamp_ms or 0 for judgement in outcome.judgements)
        with suppress(OSError):
            pipe.send(
                _Batch(
                    delivered_s=outcome.delivered_at.timestamp(),
                    message_s=tuple(each / 1000 for each in times),
                    cpu_s=time.process_time(),
                )
            )

    return tell


def _listen(pipe: Connection, stop: threading.Event) -> None:
    with suppress(OSError):
        try:
            pipe.recv()
            stop.set()
        except EOFError:
            os._exit(1)  # nobody is left who could read what is measured
