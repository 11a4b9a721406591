# SPDX-License-Identifier: BSD-3-Clause
"""Judges a stream that ends, in this process or in several, and keeps its order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import ParamSpec, Protocol, TypeVar

from broker_plugin.engine.providers import ProviderChoice
from broker_plugin.errors import BrokerPluginError, TransientError
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.filter import AlertFilter, Judgement
from broker_plugin.pipeline.lasting import take_for_lasting
from broker_plugin.signals import held_back, let_through
from broker_plugin.streams.base import Message, Source

__all__ = ["Backfill", "end_with_parent", "open_backfill"]

P = ParamSpec("P")
Result = TypeVar("Result")

BATCH = 256
"""Messages that are judged at a time: they fill the encoders' batches and still show progress."""

AHEAD = 2
"""Batches that each worker may have waiting; more would only hold memory."""


class Backfill(Protocol):
    """Judges sources that end; `provider` says which device was taken and why."""

    provider: ProviderChoice

    def judge(self, source: Source) -> Iterator[list[Judgement]]:
        """Yield the judgements of all messages, batch by batch and in order."""
        ...


@contextmanager
def open_backfill(recipe: FilterRecipe, *, workers: int = 1) -> Iterator[Backfill]:
    """Open what judges; the judgements are the same for any number of workers.

    Whatever ends the block early ends the workers at once. They also end with this process, however it ends.

    Parameters
    ----------
    recipe
        What the filter is made of.
    workers
        Processes that decode and score; with 1 this process does. With a memory it must be 1, since alerts
        are then to be judged in order.

    Raises
    ------
    ConfigurationError
        If the recipe cannot be made.
    TransientError
        If a worker is killed.
    """
    if workers == 1:
        yield _Here(recipe)
        return
    pool = _Pool(recipe, workers)
    try:
        pool.start()
        yield pool
    except BrokenProcessPool as error:
        pool.end()
        raise TransientError(
            "a worker was killed, perhaps for want of memory; use fewer --workers"
        ) from error
    except BaseException:
        pool.end()
        raise
    pool.close()


class _Here:
    """Judges in this process."""

    def __init__(self, recipe: FilterRecipe) -> None:
        scorer = recipe.scorer()
        self.provider = scorer.provider
        self._filter = recipe.filter(scorer, memory=recipe.recollection())

    def judge(self, source: Source) -> Iterator[list[Judgement]]:
        """Yield the judgements."""
        yield from (self._filter.judge(batch) for batch in _batches(source))


class _Pool:
    """Judges in worker processes."""

    provider: ProviderChoice

    def __init__(self, recipe: FilterRecipe, workers: int) -> None:
        self._workers = workers
        self._others = {process.pid for process in multiprocessing.active_children()}
        self._executor = ProcessPoolExecutor(
            workers,
            # A fresh interpreter: ONNX Runtime's and librdkafka's threads do not survive a fork.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_open_worker,
            initargs=(recipe,),
        )

    def start(self) -> None:
        """Start the workers, and wait until one is ready or says why none can be."""
        self.provider = self._submit(_provider).result()

    def judge(self, source: Source) -> Iterator[list[Judgement]]:
        """Yield the judgements."""
        waiting: deque[Future[list[Judgement]]] = deque()
        for batch in _batches(source):
            waiting.append(self._submit(_judge, batch))
            if len(waiting) > AHEAD * self._workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _submit(self, call: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Future[Result]:
        with held_back():  # it may start a worker, who must first say which signals are for him
            return self._executor.submit(call, *args, **kwargs)

    def close(self) -> None:
        """End the workers, whose work is done."""
        self._executor.shutdown()

    def end(self) -> None:
        """End the workers in the midst of their work."""
        # Waited for, or the executor's own thread meets the end of the interpreter and one of the two fails.
        ending = threading.Thread(target=self._executor.shutdown, kwargs={"cancel_futures": True})
        ending.start()
        for process in multiprocessing.active_children():
            if process.pid not in self._others:
                process.terminate()
        ending.join()


def _batches(source: Source) -> Iterator[list[Message]]:
    return iter(lambda: list(source.poll(BATCH, 0.0)), [])


_worker: list[tuple[ProviderChoice, AlertFilter] | BrokerPluginError] = []
"""The device and the filter of this worker process, or why it has none; empty in every other process."""


def _open_worker(recipe: FilterRecipe) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends us in order
    let_through()
    threading.Thread(target=end_with_parent, name="parent-watch", daemon=True).start()
    try:
        scorer = recipe.scorer()
        _worker.append((scorer.provider, recipe.filter(scorer)))
        take_for_lasting()
    except BrokerPluginError as error:
        _worker.append(error)  # raised by the first call, whose caller gets it; here it would only be logged


def end_with_parent() -> None:
    """Wait for the parent's end, however it comes, and end this process. For a thread of a worker."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # nobody is left to take what we make


def _provider() -> ProviderChoice:
    return _opened()[0]


def _judge(batch: list[Message]) -> list[Judgement]:
    return _opened()[1].judge(batch)


def _opened() -> tuple[ProviderChoice, AlertFilter]:
    (opened,) = _worker
    if isinstance(opened, BrokerPluginError):
        raise opened
    return opened
