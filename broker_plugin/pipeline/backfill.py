# SPDX-License-Identifier: BSD-3-Clause
"""Judges a stream that ends, in this process or in several, and keeps its order."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor

from broker_plugin.engine.providers import ProviderChoice
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.filter import AlertFilter, Judgement
from broker_plugin.streams.base import Message, Source

__all__ = ["judge_all"]

BATCH = 256
"""Messages that are judged at a time: they fill the encoders' batches and still show progress."""

AHEAD = 2
"""Batches that each worker may have waiting; more would only hold memory."""


def judge_all(
    source: Source,
    recipe: FilterRecipe,
    *,
    workers: int = 1,
    on_open: Callable[[ProviderChoice], None] = lambda choice: None,
) -> Iterator[list[Judgement]]:
    """Yield the judgements of all messages of a source that ends, batch by batch and in order.

    The judgements are the same for any number of workers.

    Parameters
    ----------
    workers
        Processes that decode and score; with 1 this process does.
    on_open
        Is told the device that was taken, before anything is judged.
    """
    batches = iter(lambda: list(source.poll(BATCH, 0.0)), [])
    if workers == 1:
        scorer = recipe.scorer()
        on_open(scorer.provider)
        alert_filter = recipe.filter(scorer)
        yield from (alert_filter.judge(batch) for batch in batches)
        return
    pool = ProcessPoolExecutor(
        workers,
        # A fresh interpreter: ONNX Runtime's and librdkafka's threads do not survive a fork.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_open_worker,
        initargs=(recipe,),
    )
    with pool:
        on_open(pool.submit(_provider).result())
        waiting: deque[Future[list[Judgement]]] = deque()
        for batch in batches:
            waiting.append(pool.submit(_judge, batch))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


_worker: list[tuple[ProviderChoice, AlertFilter]] = []
"""The device and the filter of this worker process; empty in every other process."""


def _open_worker(recipe: FilterRecipe) -> None:
    scorer = recipe.scorer()
    _worker.append((scorer.provider, recipe.filter(scorer)))


def _provider() -> ProviderChoice:
    return _worker[0][0]


def _judge(batch: list[Message]) -> list[Judgement]:
    return _worker[0][1].judge(batch)
