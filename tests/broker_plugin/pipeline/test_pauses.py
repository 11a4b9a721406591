# SPDX-License-Identifier: BSD-3-Clause
"""A stream that would dead-letter a night is held: nothing is sent or committed, and it says why."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from broker_plugin.errors import (
    PauseReason,
    RejectedAlert,
    RejectReason,
    StreamPausedError,
    TransientError,
)
from broker_plugin.pipeline.backoff import Backoff
from broker_plugin.pipeline.batcher import Batcher
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.filter import AlertFilter, Judgement
from broker_plugin.pipeline.monitor import BatchOutcome, QuietMonitor
from broker_plugin.pipeline.outbox import Outbox
from broker_plugin.pipeline.reject_rate import RejectRate
from broker_plugin.pipeline.runner import Runner
from broker_plugin.streams.base import Message
from broker_plugin.streams.memory import MemorySink, MemorySource

REASONS = st.sampled_from([None, None, None, RejectReason.EMPTY, RejectReason.UNDECODABLE])


def judged(*reasons: RejectReason | None, begin: int = 0) -> list[Judgement]:
    """Return what became of messages that were rejected for these reasons, or not."""
    return [
        Judgement(
            message=Message(topic="alerts", partition=3, offset=offset, value=b""),
            rejection=reason and RejectedAlert(reason, f"found {reason}"),
        )
        for offset, reason in enumerate(reasons, begin)
    ]


@given(st.lists(REASONS, max_size=80), st.integers(1, 30), st.floats(0.01, 1.0), st.integers(1, 7))
def test_it_pauses_where_a_recount_of_the_window_says_so(
    reasons: list[RejectReason | None], window: int, share: float, batch: int
) -> None:
    rate = RejectRate(share=share, window=window)
    last: deque[RejectReason | None] = deque(maxlen=window)
    expected = None
    for number, reason in enumerate(reasons):
        last.append(reason)
        if reason is not None and Counter(last)[reason] > share * window:
            expected = number
            break
    paused = None
    for start in range(0, len(reasons), batch):
        try:
            rate.check(judged(*reasons[start : start + batch]))
            rate.note(judged(*reasons[start : start + batch]))
        except StreamPausedError:
            paused = start
            break
    assert (paused is None) == (expected is None)
    if paused is not None and expected is not None:
        assert paused <= expected < paused + batch


def test_a_reason_that_the_operator_accepts_never_pauses() -> None:
    rate = RejectRate(window=1000, accepted=[RejectReason.ACCESS])
    rate.note(judged(*[RejectReason.ACCESS] * 5000))
    rate.note(judged(*[RejectReason.EMPTY] * 10))
    with pytest.raises(StreamPausedError, match="--accept-rejects empty"):
        rate.check(judged(RejectReason.EMPTY))


def test_a_pause_says_where_the_first_of_its_messages_is_and_what_is_wrong_with_it() -> None:
    rate = RejectRate(window=100)
    batch = judged(None, RejectReason.UNDECODABLE, RejectReason.EMPTY, RejectReason.EMPTY, begin=1234)
    with pytest.raises(StreamPausedError, match=r"alerts \[3\] at offset 1236: found empty\."):
        rate.check(batch)


class Noting(QuietMonitor):
    """Ends a held stream after it gave a few signs of life."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.pauses: list[StreamPausedError] = []
        self.beats_held = 0

    def paused(self, pause: StreamPausedError | None) -> None:
        assert pause is not None
        self.pauses.append(pause)

    def beat(self) -> None:
        self.beats_held += bool(self.pauses)
        if self.beats_held >= 3:
            self._stop.set()


def held(alert_filter: AlertFilter, messages: Sequence[Message]) -> tuple[MemorySource, MemorySink, Noting]:
    """Run with at most two rejections of one reason among ten messages, in batches of ten."""
    stop = threading.Event()
    source, sink, monitor = MemorySource(messages), MemorySink(), Noting(stop)
    with capture_logs() as logged:
        Runner(
            source,
            sink,
            alert_filter,
            Outbox("verdicts", DeadLetters(topic="dead")),
            batcher=Batcher(batch_max=10),
            reject_rate=RejectRate(share=0.2, window=10),
            monitor=monitor,
            stop=stop,
        ).run()
    assert [entry["why"] for entry in logged if entry["event"] == "stream_paused"] == [
        str(pause) for pause in monitor.pauses
    ]
    return source, sink, monitor


def test_a_paused_stream_holds_its_batch_and_lives(
    alert_filter: AlertFilter, messages: list[Message]
) -> None:
    def junk(numbers: set[int]) -> list[Message]:
        return [replace(m, value=b"junk") if n in numbers else m for n, m in enumerate(messages[:30])]

    source, sink, monitor = held(alert_filter, junk({3, 7, 15, 25, 26}))
    assert not monitor.pauses
    assert len(sink.on("dead")) == 5
    source, sink, monitor = held(alert_filter, junk({3, 15, 16, 17, 18}))
    assert [pause.reason for pause in monitor.pauses] == [PauseReason.REJECTS]
    assert monitor.beats_held >= 3
    # The first batch of ten is done, the second neither sent nor committed.
    assert (len(sink.on("verdicts")), len(sink.on("dead"))) == (9, 1)
    assert sum(source.committed.values()) == 10


class LosesItsShareOnce(MemorySource):
    """Before the first commit its partitions are lost, and all of their messages come again."""

    lost = False

    def commit(self, messages: Sequence[Message]) -> None:
        if not self.lost:
            self.lost = True
            self.restart()
            raise TransientError("the group does not know this member")
        super().commit(messages)


def test_messages_that_come_again_are_counted_once(
    alert_filter: AlertFilter, messages: list[Message]
) -> None:
    bad = {3, 7, 11, 15}
    mixed = [replace(m, value=b"junk") if n in bad else m for n, m in enumerate(messages[:30])]
    source, sink, stop = LosesItsShareOnce(mixed), MemorySink(), threading.Event()
    outcomes: list[BatchOutcome] = []
    monitor = Noting(stop)
    Runner(
        source,
        sink,
        alert_filter,
        Outbox("verdicts", DeadLetters(topic="dead")),
        batcher=Batcher(batch_max=15),
        backoff=Backoff(first_s=0.001, cap_s=0.002),
        reject_rate=RejectRate(share=4 / 30, window=30),
        monitor=monitor,
        stop=stop,
        on_batch=outcomes.append,
    ).run()
    assert not monitor.pauses
    assert len(sink.on("dead")) > len(bad)  # the first batch was sent twice
    assert sum(source.committed.values()) == len(mixed)
    # What was sent and not committed is not said to be done.
    assert sum(len(outcome.judgements) for outcome in outcomes) == len(mixed)
    assert sum(sum(outcome.rejections.values()) for outcome in outcomes) == len(bad)
