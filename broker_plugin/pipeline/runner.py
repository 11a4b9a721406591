# SPDX-License-Identifier: BSD-3-Clause
"""The loop of the service: poll, judge, send, wait for the acknowledgements, commit.

While there is more to read, the next batch is polled while one is judged, and judged while that one is sent
and committed. Batches are judged, sent and committed in order, each after the one before it.

A batch may take minutes: another thread judges it, and the loop goes on to poll, to answer its group, to
give signs of life and to hear that it should stop. It waits for the batch until the stop deadline, or until
no batch could take so long; then it ends without it, uncommitted.

What fails for a passing reason is tried again with the same batch, for as long as it takes; meanwhile nothing
is committed and the source is kept alive. What fails for any other reason leaves the loop with the offsets of
its batch uncommitted. A stream that is paused keeps its place in the group, and waits for its end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import structlog

from broker_plugin.errors import BatchAbandonedError, StreamPausedError, TransientError
from broker_plugin.pipeline.backoff import Backoff
from broker_plugin.pipeline.batcher import Batcher
from broker_plugin.pipeline.delivery import AtLeastOnce, Delivery, GroupSource, Result, owned_messages
from broker_plugin.pipeline.filter import AlertFilter, Judgement
from broker_plugin.pipeline.judging import Judged, Judging, UnderWay
from broker_plugin.pipeline.monitor import BatchOutcome, Monitor, QuietMonitor
from broker_plugin.pipeline.outbox import Outbox
from broker_plugin.pipeline.reject_rate import RejectRate
from broker_plugin.streams.base import Message, Sink, Source
from broker_plugin.streams.ownership import next_offsets

__all__ = ["Runner"]

log = structlog.get_logger(__name__)

POLL_S = 0.25
"""Longest wait in one poll; bounds how late SIGTERM is noticed and how far apart signs of life are."""

SLOW_S = 60.0
"""Time after which the log says that a batch is still being judged: one of long light curves takes tens of
seconds on a slow core."""

JUDGE_S = 900.0
"""Time after which a batch counts as stuck, and the process ends to be started again. A batch of 256 messages
at all limits takes minutes on a slow core; one that is given up too early comes again, and is again."""

LAG_EVERY_S = 2.0
"""Time between two looks at the lag: more often than it is scraped, too seldom to cost anything."""


class Runner:
    """Runs until it is stopped, or its source ends.

    Parameters
    ----------
    source, sink
        The two ends; `run` closes them.
    alert_filter, outbox
        What happens in between.
    delivery
        How messages are sent and marked as done; `AtLeastOnce` by default.
    batcher
        How batches are made.
    stop
        Set it to end the loop: the open batch is finished first.
    stop_deadline_s
        Time for that. A batch that cannot be judged and delivered within it stays uncommitted.
    judge_deadline_s
        Longest time for judging a batch.
    backoff
        Pauses between attempts.
    reject_rate
        Pauses the stream when alerts are rejected too often.
    monitor
        Is told what happens.
    on_batch
        Is called with each batch that was delivered.
    between_batches
        Is called before each batch is judged, by the thread that judges, when no other batch is in it.
    when_idle
        Is called by that thread again and again while it has no batch; what it raises ends the loop.
    """

    def __init__(
        self,
        source: Source,
        sink: Sink,
        alert_filter: AlertFilter,
        outbox: Outbox,
        *,
        delivery: Delivery | None = None,
        batcher: Batcher | None = None,
        stop: threading.Event | None = None,
        stop_deadline_s: float = 15.0,
        judge_deadline_s: float = JUDGE_S,
        backoff: Backoff | None = None,
        reject_rate: RejectRate | None = None,
        monitor: Monitor | None = None,
        on_batch: Callable[[BatchOutcome], None] | None = None,
        between_batches: Callable[[], None] = lambda: None,
        when_idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._group = source if isinstance(source, GroupSource) else None
        self._sink = sink
        self._judging = Judging(alert_filter, outbox, between_batches=between_batches, when_idle=when_idle)
        self._delivery = AtLeastOnce(source, sink) if delivery is None else delivery
        self._batcher = Batcher() if batcher is None else batcher
        self._stop = threading.Event() if stop is None else stop
        self._stop_deadline_s = stop_deadline_s
        self._stop_by: float | None = None
        self._judge_deadline_s = judge_deadline_s
        self._backoff = Backoff() if backoff is None else backoff
        self._reject_rate = reject_rate
        self._monitor = QuietMonitor() if monitor is None else monitor
        self._on_batch = on_batch
        self._poll_pauses = self._backoff.pauses()
        self._poll_due = 0.0
        self._received_at = datetime.now(UTC)
        self._lag_due = 0.0

    def run(self) -> None:
        """Run until the stop event or the source's end, and close both ends.

        Raises
        ------
        TransientError
            If the last batch could not be delivered before the stop deadline.
        BatchAbandonedError
            If a batch was not judged by then, or in all the time that a batch may take.
        """
        try:
            while not self._stop.is_set() and not (self._source.exhausted and not len(self._batcher)):
                self._gather()
                if self._batcher.is_due(time.monotonic()) or self._source.exhausted:
                    self._handle(self._batcher.take())
            self._handle(self._batcher.take())
        except StreamPausedError as pause:
            self._hold(pause)
        finally:
            if not self._judging.close(within_s=self._left_s()):
                log.warning("batch_left_under_way")
            self._source.close()
            self._sink.close()
        log.info("stopped")

    def _gather(self) -> None:
        self._judging.check()
        self._look_around()
        now = time.monotonic()
        # A stop has nothing to wait for here: what was polled before is finished, with all of its time.
        self._pause(min(self._poll_due - now, self._batcher.wait_s(now)), ended=self._stop.is_set)
        self._poll(min(POLL_S, self._batcher.wait_s(time.monotonic())))

    def _poll(self, timeout_s: float) -> bool:
        """Take in what there is, and tell whether that was anything; after a failure there is a pause."""
        if time.monotonic() < self._poll_due:
            return False
        try:
            messages = self._source.poll(self._batcher.room, timeout_s)
        except TransientError as error:
            self._note("poll", error)
            self._poll_due = time.monotonic() + next(self._poll_pauses)
            return False
        self._poll_pauses = self._backoff.pauses()
        self._monitor.succeeded("poll")
        if messages and not len(self._batcher):
            self._received_at = datetime.now(UTC)
        self._batcher.add(messages, now=time.monotonic())
        return bool(messages)

    def _handle(self, batch: Sequence[Message]) -> None:
        """Judge and deliver a batch, and those that become due meanwhile."""
        under_way = self._begin(batch)
        while under_way is not None:
            judged = self._attempt("judge", partial(self._judged, under_way))
            if self._reject_rate is not None:
                self._reject_rate.check(judged.judgements)
            # Only now: a batch that had to be judged again must not come after the next one.
            follows = not self._stop.is_set() and self._batcher.is_due(time.monotonic())
            under_way = self._begin(self._batcher.take()) if follows else None
            self._deliver(judged)

    def _begin(self, batch: Sequence[Message]) -> UnderWay | None:
        messages = owned_messages(self._source, batch)
        return self._judging.begin(messages, received_at=self._received_at) if messages else None

    def _judged(self, under_way: UnderWay) -> Judged:
        """Wait for a batch that is being judged, for as long as it may take; meanwhile the loop lives."""
        begun, slow = time.monotonic(), False
        self._gather_meanwhile()
        while not under_way.ends(within_s=POLL_S):
            self._gather_meanwhile()
            seconds = time.monotonic() - begun
            if self._too_late():
                raise _abandoned(under_way, f"was still judged {self._stop_deadline_s:g} s after the stop")
            if seconds >= self._judge_deadline_s:
                raise _abandoned(under_way, f"was not judged in {seconds:.0f} s")
            if not slow and seconds >= SLOW_S:
                slow = True
                log.warning("batch_is_slow", seconds=round(seconds), **_shown(under_way))
        return under_way.result()

    def _gather_meanwhile(self) -> None:
        """Poll what there is at once: nothing that is being judged waits for it, however it fails."""
        self._look_around()
        if self._group is not None:
            self._group.stay()
        while not (self._batcher.is_full or self._stop.is_set() or self._source.exhausted):
            if not self._poll(0.0):
                return

    def _deliver(self, judged: Judged) -> None:
        def attempt(stage: str, step: Callable[[], Result]) -> Result:
            with judged.times.of(stage):
                return self._attempt(stage, step)

        delivered = {id(parcel.message) for parcel in self._delivery.deliver(judged.parcels, attempt)}
        done = tuple(j for j in judged.judgements if id(j.message) in delivered)
        if self._reject_rate is not None:
            self._reject_rate.note(done)
        outcome = BatchOutcome(
            judgements=done,
            received_at=judged.received_at,
            delivered_at=datetime.now(UTC),
            times=judged.times,
        )
        if len(done) < len(judged.judgements):
            log.warning("messages_given_up", messages=len(judged.judgements) - len(done))
        self._tell(outcome)

    def _attempt(self, stage: str, step: Callable[[], Result]) -> Result:
        for pause_s in self._backoff.pauses():
            try:
                result = step()
            except TransientError as error:
                self._note(stage, error)
                if self._too_late():
                    raise TransientError(
                        f"stopped with a batch uncommitted: {error.found}", remedy=error.remedy
                    ) from error
            else:
                self._monitor.succeeded(stage)
                return result
            self._pause(pause_s, ended=self._too_late)
        raise AssertionError("the pauses never end")

    def _hold(self, pause: StreamPausedError) -> None:
        self._monitor.paused(pause)  # before it is said: who reads it and asks for readiness is told the same
        log.error("stream_paused", reason=str(pause.reason), why=str(pause))
        while not self._stop.is_set():
            self._pause(POLL_S, ended=self._stop.is_set)

    def _pause(self, pause_s: float, *, ended: Callable[[], bool]) -> None:
        end = time.monotonic() + pause_s
        while (left := end - time.monotonic()) > 0 and not ended():
            self._look_around()
            if self._group is not None:
                self._group.keep_alive()
            if self._stop.is_set():
                time.sleep(min(left, POLL_S))
            else:
                self._stop.wait(min(left, POLL_S))

    def _look_around(self) -> None:
        self._monitor.beat()
        now = time.monotonic()
        if self._group is None:
            return
        self._monitor.joined(self._group.joined())
        if now >= self._lag_due:
            self._lag_due = now + LAG_EVERY_S
            self._monitor.lagging(self._group.lag_by_topic())

    def _too_late(self) -> bool:
        if not self._stop.is_set():
            return False
        if self._stop_by is None:
            self._stop_by = time.monotonic() + self._stop_deadline_s
        return time.monotonic() >= self._stop_by

    def _left_s(self) -> float:
        """Return how much time is left, or would be if it had to stop now."""
        return self._stop_deadline_s if self._stop_by is None else max(0.0, self._stop_by - time.monotonic())

    def _note(self, stage: str, error: TransientError) -> None:
        log.warning("stage_failed", stage=stage, why=str(error))
        self._monitor.retried(stage)

    def _tell(self, outcome: BatchOutcome) -> None:
        _log_rejections(outcome.judgements)
        log.info(
            "batch_delivered",
            messages=len(outcome.judgements),
            verdicts=len(outcome.verdicts),
            dead_letters=dict(outcome.rejections),
            seconds={stage: round(seconds, 4) for stage, seconds in outcome.times.items()},
        )
        self._monitor.delivered(outcome)
        if self._on_batch is not None:
            self._on_batch(outcome)


def _abandoned(under_way: UnderWay, why: str) -> BatchAbandonedError:
    shown = _shown(under_way)
    log.error("batch_abandoned", why=why, **shown)
    return BatchAbandonedError(
        f"a batch of {shown['messages']} messages {why} and is given up uncommitted; it comes again",
        remedy="if it does so for ever, look at its messages (the log has their offsets) or lower batch_max",
    )


def _shown(under_way: UnderWay) -> dict[str, object]:
    """Return which messages those are, for the log."""
    behind = next_offsets(under_way.messages)
    return {
        "messages": len(under_way.messages),
        "offsets": {f"{topic} [{partition}]": offset - 1 for (topic, partition), offset in behind.items()},
    }


def _log_rejections(judgements: Sequence[Judgement]) -> None:
    for judgement in judgements:
        if judgement.rejection is not None:
            # Not the detail: whether it may be shown depends on the reader.
            log.debug(
                "alert_rejected",
                reason=str(judgement.rejection.reason),
                topic=judgement.message.topic,
                partition=judgement.message.partition,
                offset=judgement.message.offset,
            )
