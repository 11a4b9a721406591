# SPDX-License-Identifier: BSD-3-Clause
"""Batches judged in a thread of their own, one at a time and in order, while the loop talks to Kafka.

Only what touches no stream is done there: decoding, scoring, and putting the outgoing messages together. A
batch that is given up, because its partition is gone or the process ends, was then judged for nothing, and
nobody sees it: what was judged counts when it is delivered. While no batch comes, the thread has time for
what no other thread may do, such as to write to the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, SimpleQueue

import structlog

from broker_plugin.expendable import ExpendableThread
from broker_plugin.pipeline.filter import AlertFilter, Judgement
from broker_plugin.pipeline.outbox import Outbox, Parcel
from broker_plugin.pipeline.stages import StageTimes
from broker_plugin.streams.base import Message

__all__ = ["Judged", "Judging", "UnderWay"]

log = structlog.get_logger(__name__)

IDLE_S = 1.0
"""Time without a batch after which the thread counts as idle, and between two calls that it makes then: as
short as the first pause of a store that is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A batch that is ready to be delivered."""

    judgements: Sequence[Judgement]
    parcels: Sequence[Parcel]
    received_at: datetime
    times: StageTimes


class UnderWay:
    """A batch that is being judged.

    Parameters
    ----------
    messages
        What it is made of.
    begin
        Begins to judge it.
    """

    def __init__(self, messages: Sequence[Message], begin: Callable[[], Future[Judged]]) -> None:
        self.messages = messages
        self._begin = begin
        self._future: Future[Judged] | None = begin()

    def ends(self, *, within_s: float) -> bool:
        """Wait for its end for so long, and tell whether it came; one whose result was taken begins anew."""
        if self._future is None:
            self._future = self._begin()
        return bool(wait((self._future,), timeout=within_s).done)

    def result(self) -> Judged:
        """Return it once it has ended, or raise what it failed with; asked again, it is judged again."""
        future, self._future = self._future or self._begin(), None
        return future.result()


class Judging:
    """The thread that judges.

    Parameters
    ----------
    alert_filter, outbox
        What is done to a batch.
    between_batches
        Is called in the thread before each batch, when no other is being judged.
    when_idle
        Is called in the thread again and again while there is nothing to judge, until it fails.
    """

    def __init__(
        self,
        alert_filter: AlertFilter,
        outbox: Outbox,
        *,
        between_batches: Callable[[], None],
        when_idle: Callable[[], None],
    ) -> None:
        self._filter = alert_filter
        self._outbox = outbox
        self._between_batches = between_batches
        self._when_idle = when_idle
        self._surprise: Exception | None = None
        self._thread: _Thread | None = None

    def begin(self, messages: Sequence[Message], *, received_at: datetime) -> UnderWay:
        """Begin with a batch, or have it wait for the one that is being judged."""
        times = StageTimes()
        if self._thread is None:
            self._thread = _Thread(when_idle=self._idle)
            self._thread.start()
        thread = self._thread
        return UnderWay(messages, lambda: thread.submit(lambda: self._judge(messages, received_at, times)))

    def check(self) -> None:
        """Raise what went wrong while there was nothing to judge: nothing is judged after it."""
        if self._surprise is not None:
            raise self._surprise

    def close(self, *, within_s: float) -> bool:
        """Let the batch that is being judged end, and the thread with it; tell whether it came to that."""
        if self._thread is None:
            return True
        self._thread.end()
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _idle(self) -> None:
        if self._surprise is not None:
            return
        try:
            self._when_idle()
        except Exception as error:  # whatever it is, the loop raises it
            log.exception("idle_work_failed")
            self._surprise = error

    def _judge(self, messages: Sequence[Message], received_at: datetime, times: StageTimes) -> Judged:
        self.check()
        self._between_batches()
        judgements = self._filter.judge(messages, received_at=received_at, times=times)
        with times.of("encode"):
            parcels = self._outbox.pack(judgements)
        return Judged(judgements=judgements, parcels=parcels, received_at=received_at, times=times)


class _Thread(ExpendableThread):
    """Makes calls one after the other. Not the library's: the process's end would wait for that."""

    def __init__(self, *, when_idle: Callable[[], None]) -> None:
        super().__init__("judge")
        self._when_idle = when_idle
        self._calls: SimpleQueue[tuple[Future[Judged], Callable[[], Judged]] | None] = SimpleQueue()

    def submit(self, call: Callable[[], Judged]) -> Future[Judged]:
        """Have a call made behind those before it."""
        future: Future[Judged] = Future()
        self._calls.put((future, call))
        return future

    def end(self) -> None:
        """End behind the calls before."""
        self._calls.put(None)

    def run(self) -> None:
        while (given := self._next()) is not None:
            self.at_work = True
            _fulfil(*given)
            del given  # else the last batch would stay in memory until the next
            self.at_work = False

    def _next(self) -> tuple[Future[Judged], Callable[[], Judged]] | None:
        while True:
            try:
                return self._calls.get(timeout=IDLE_S)
            except Empty:
                self.at_work = True
                self._when_idle()
                self.at_work = False


def _fulfil(future: Future[Judged], call: Callable[[], Judged]) -> None:
    try:
        judged = call()
    except BaseException as error:  # whatever it is, it is raised where the batch is waited for
        future.set_exception(error)
    else:
        future.set_result(judged)
