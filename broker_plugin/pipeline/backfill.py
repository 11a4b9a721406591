# SPDX-License-Identifier: BSD-3-Clause
"""Judges a stream that ends, in this process or in several, and keeps its order."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Protocol, Self

from broker_plugin.engine.providers import ProviderChoice
from broker_plugin.errors import BrokerPluginError, TransientError
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.filter import Judgement
from broker_plugin.pipeline.lasting import take_for_lasting
from broker_plugin.signals import held_back, let_through, unbroken
from broker_plugin.streams.base import Message, Source

__all__ = ["Backfill", "open_backfill"]

BATCH = 256
"""Messages that are judged at a time: they fill the encoders' batches and still show progress."""

AHEAD = 2
"""Batches that each worker may have waiting; more would only hold memory."""

EXIT_BROKEN = 1
"""Status of a Python process that an error has ended, which it has printed."""


class Backfill(Protocol):
    """Judges sources that end; `provider` says which device was taken and why."""

    provider: ProviderChoice

    def judge(self, source: Source) -> Iterator[list[Judgement]]:
        """Yield the judgements of all messages, batch by batch and in order."""
        ...


@contextmanager
def open_backfill(
    recipe: FilterRecipe, *, workers: int = 1, prepare: Callable[[], None] | None = None
) -> Iterator[Backfill]:
    """Open what judges; the judgements are the same for any number of workers.

    Whatever ends the block early ends the workers at once. They also end with this process, however it ends.

    Parameters
    ----------
    recipe
        What the filter is made of.
    workers
        Processes that decode and score; with 1 this process does. With a memory it must be 1, since alerts
        are then to be judged in order.
    prepare
        What each worker process does first: to log as this one does.

    Raises
    ------
    ConfigurationError
        If the recipe cannot be made.
    TransientError
        If a worker is killed.
    """
    if workers == 1:
        with closing(_Here(recipe)) as here:
            yield here
        return
    with _Pool(recipe, workers, prepare) as pool:
        yield pool


class _Here:
    """Judges in this process."""

    def __init__(self, recipe: FilterRecipe) -> None:
        scorer = recipe.scorer()
        self.provider = scorer.provider
        self._memory = recipe.recollection()
        self._filter = recipe.filter(scorer, memory=self._memory)

    def judge(self, source: Source) -> Iterator[list[Judgement]]:
        """Yield the judgements."""
        yield from (self._filter.judge(batch) for batch in _batches(source))

    def close(self) -> None:
        """Let go of the memory."""
        if self._memory is not None:
            self._memory.close()


class _Pool:
    """Judges in worker processes. A batch goes to the one with the least to do; their order stays."""

    provider: ProviderChoice

    def __init__(self, recipe: FilterRecipe, workers: int, prepare: Callable[[], None] | None) -> None:
        self._recipe = recipe
        self._size = workers
        self._prepare = prepare
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        try:
            for number in range(self._size):
                with unbroken():
                    own = replace(self._recipe, worker=number)
                    self._workers.append(_Worker(own, self._prepare))
            self.provider, *_ = [self._answer(worker) for worker in self._workers]
        except BaseException:
            self._end(at_once=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(at_once=error is not None)

    def judge(self, source: Source) -> Iterator[list[Judgement]]:
        """Yield the judgements."""
        asked: deque[_Worker] = deque()
        for batch in _batches(source):
            self._hear(timeout_s=0.0)
            worker = min(self._workers, key=lambda each: each.unanswered)
            worker.ask(batch)
            asked.append(worker)
            if len(asked) > AHEAD * self._size:
                yield self._answer(asked.popleft())
        while asked:
            yield self._answer(asked.popleft())

    def _answer(self, worker: _Worker) -> Any:
        """Return the next answer of a worker, and hear the others while it is waited for."""
        while not worker.answers:
            self._hear(timeout_s=None)
        answer = worker.answers.popleft()
        if isinstance(answer, BrokerPluginError):
            raise answer
        return answer

    def _hear(self, *, timeout_s: float | None) -> None:
        by_pipe = {worker.pipe: worker for worker in self._workers if not worker.has_ended}
        for pipe in wait(by_pipe, timeout_s):
            by_pipe[pipe].hear()  # type: ignore[index]  # nothing but our pipes is waited for

    def _end(self, *, at_once: bool) -> None:
        for worker in self._workers:
            worker.dismiss(at_once=at_once)
        for worker in self._workers:
            worker.join()


class _Worker:
    """A process that judges, as its parent has it. Its first answer is the device, those to come judgements.

    Parameters
    ----------
    recipe
        What its filter is made of.

    Attributes
    ----------
    pipe
        Where its answers come from.
    answers
        Those that were heard, the oldest first; the last is an error where it has ended.
    unanswered
        How many answers are still to come.
    """

    def __init__(self, recipe: FilterRecipe, prepare: Callable[[], None] | None) -> None:
        # A fresh interpreter: ONNX Runtime's and librdkafka's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.answers: deque[Any] = deque()
        self.unanswered = 1
        self.has_ended = False
        self._process = context.Process(target=_work, args=(recipe, prepare, theirs), daemon=True)
        with held_back():  # it must first say which signals are for it
            self._process.start()
        theirs.close()

    def ask(self, batch: list[Message]) -> None:
        """Hand over a batch to be judged. If it has ended, its next answer says why."""
        self.unanswered += 1
        with suppress(OSError):
            self.pipe.send(batch)

    def hear(self) -> None:
        """Take an answer, or note that there will be none any more."""
        try:
            self.answers.append(self.pipe.recv())
            self.unanswered -= 1
        except (EOFError, OSError):
            self.answers.append(self._cause_of_end())
            self.has_ended = True

    def dismiss(self, *, at_once: bool) -> None:
        """Tell it to end: when its work is done, or in the midst of it."""
        if at_once or self.unanswered:
            self._process.terminate()
        else:
            with suppress(OSError):
                self.pipe.send(None)

    def join(self) -> None:
        """Wait for its end."""
        self._process.join()
        self.pipe.close()

    def _cause_of_end(self) -> BrokerPluginError:
        self._process.join()  # it has closed the pipe, so it is on its way
        if self._process.exitcode == EXIT_BROKEN:
            return BrokerPluginError("a worker broke down; its own message stands above")
        return TransientError("a worker was killed, perhaps for want of memory", remedy="use fewer --workers")


def _work(recipe: FilterRecipe, prepare: Callable[[], None] | None, pipe: Connection) -> None:
    """Judge batch after batch: the life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends us in order
    let_through()
    if prepare is not None:
        prepare()
    batches: queue.SimpleQueue[list[Message] | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, batches), name="parent", daemon=True).start()
    try:
        scorer = recipe.scorer()
        alert_filter = recipe.filter(scorer)
        take_for_lasting()
        pipe.send(scorer.provider)
        while (batch := batches.get()) is not None:
            pipe.send(alert_filter.judge(batch))
    except BrokerPluginError as error:
        pipe.send(error)
    except BrokenPipeError:
        return  # nobody is left to take what we make


def _listen(pipe: Connection, batches: queue.SimpleQueue[list[Message] | None]) -> None:
    """Take what the parent hands over at once, so that it never waits, and end with it, however it ends."""
    try:
        while (batch := pipe.recv()) is not None:
            batches.put(batch)
    except (EOFError, OSError):
        os._exit(1)  # nobody is left to take what we make
    batches.put(None)


def _batches(source: Source) -> Iterator[list[Message]]:
    return iter(lambda: list(source.poll(BATCH, 0.0)), [])
