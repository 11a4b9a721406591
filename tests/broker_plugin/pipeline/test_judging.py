# SPDX-License-Identifier: BSD-3-Clause
"""Batches are judged ahead of what is being sent, in order, and count only when they are delivered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime

import pytest
from structlog.testing import capture_logs

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import BatchAbandonedError, TransientError
from broker_plugin.pipeline import judging
from broker_plugin.pipeline.backoff import Backoff
from broker_plugin.pipeline.batcher import Batcher
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.filter import AlertFilter
from broker_plugin.pipeline.monitor import QuietMonitor
from broker_plugin.pipeline.outbox import Outbox
from broker_plugin.pipeline.runner import Runner
from broker_plugin.records import AlertBatch
from broker_plugin.streams.base import Message, OutgoingMessage
from broker_plugin.streams.memory import MemorySink, MemorySource

BATCH = 10
WAIT_S = 60.0
"""Far longer than a batch takes; only a failure waits so long."""

AT_ONCE = Backoff(first_s=0.001, cap_s=0.002)


class Watched:
    """A scorer that tells of each batch, by the numbers of its alerts, before it scores it."""

    def __init__(self, scorer: Scorer, tell: Callable[[list[int]], None]) -> None:
        self._scorer = scorer
        self._tell = tell

    def score(
        self, alerts: AlertBatch, *, tense: Tense = Tense.CURRENT, received_at: datetime | None = None
    ) -> list[Verdict]:
        self._tell(alerts.alert_id.tolist())
        return self._scorer.score(alerts, tense=tense, received_at=received_at)


class CallingSink(MemorySink):
    """A sink that calls a function with each batch before it keeps it."""

    def __init__(self, call: Callable[[Sequence[OutgoingMessage]], None]) -> None:
        super().__init__()
        self._call = call

    def send(self, messages: Sequence[OutgoingMessage]) -> None:
        self._call(messages)
        super().send(messages)


def runner_of(
    source: MemorySource,
    sink: MemorySink,
    decoder: Decoder,
    scorer: Watched,
    *,
    stop: threading.Event | None = None,
    stop_deadline_s: float = WAIT_S,
    judge_deadline_s: float = WAIT_S,
    monitor: QuietMonitor | None = None,
    backoff: Backoff = AT_ONCE,
    between_batches: Callable[[], None] = lambda: None,
    when_idle: Callable[[], None] = lambda: None,
) -> Runner:
    return Runner(
        source,
        sink,
        AlertFilter(decoder, scorer),
        Outbox("verdicts", DeadLetters(topic="dead")),
        batcher=Batcher(batch_max=BATCH),
        stop=stop,
        stop_deadline_s=stop_deadline_s,
        judge_deadline_s=judge_deadline_s,
        monitor=monitor,
        backoff=backoff,
        between_batches=between_batches,
        when_idle=when_idle,
    )


def judging_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("judge")]


def offsets_sent(sink: MemorySink) -> list[tuple[int, int]]:
    headers = [dict(message.headers) for message in sink.sent]
    return [(int(each["source_partition"]), int(each["source_offset"])) for each in headers]


def test_a_batch_is_judged_while_the_one_before_is_sent(
    decoder: Decoder, scorer: Scorer, messages: list[Message]
) -> None:
    begun = [threading.Event() for _ in range(4)]
    count = iter(begun)
    sending = iter(begun[1:])
    overlapped: list[bool] = []

    def wait_for_the_next(_: Sequence[OutgoingMessage]) -> None:
        following = next(sending, None)
        if following is not None:
            overlapped.append(following.wait(WAIT_S))

    watched = Watched(scorer, lambda _: next(count).set())
    source, sink = MemorySource(messages[: 4 * BATCH]), CallingSink(wait_for_the_next)
    runner_of(source, sink, decoder, watched).run()
    assert overlapped == [True] * 3
    assert offsets_sent(sink) == [(message.partition, message.offset) for message in messages[: 4 * BATCH]]
    assert judging_threads() == []


def test_a_batch_that_is_judged_again_still_comes_before_the_next(
    decoder: Decoder, scorer: Scorer, messages: list[Message]
) -> None:
    judged: list[list[int]] = []

    def fail_once(alerts: list[int]) -> None:
        judged.append(alerts)
        if len(judged) == 2:
            raise TransientError("what is needed is away")

    source, sink = MemorySource(messages[: 3 * BATCH]), MemorySink()
    runner_of(source, sink, decoder, Watched(scorer, fail_once)).run()
    first, failed, again, third = judged
    assert failed == again
    assert len({*first, *again, *third}) == 3 * BATCH
    assert offsets_sent(sink) == [(message.partition, message.offset) for message in messages[: 3 * BATCH]]


def test_what_was_judged_ahead_is_neither_sent_nor_committed_when_sending_fails(
    decoder: Decoder, scorer: Scorer, messages: list[Message]
) -> None:
    second = threading.Event()
    judged: list[list[int]] = []

    def tell(alerts: list[int]) -> None:
        judged.append(alerts)
        if len(judged) == 2:
            second.set()

    def break_down(_: Sequence[OutgoingMessage]) -> None:
        assert second.wait(WAIT_S)
        raise ZeroDivisionError

    source, sink = MemorySource(messages[: 3 * BATCH]), CallingSink(break_down)
    with pytest.raises(ZeroDivisionError):
        runner_of(source, sink, decoder, Watched(scorer, tell)).run()
    assert len(judged) == 2
    assert (source.committed, sink.sent) == ({}, [])
    # Its end is waited for: it may write to a store that is closed next.
    assert judging_threads() == []


def test_a_partition_that_is_taken_away_meanwhile_is_not_sent(
    decoder: Decoder, scorer: Scorer, messages: list[Message]
) -> None:
    source = MemorySource(messages[: 3 * BATCH])
    begun = [threading.Event() for _ in range(3)]
    count = iter(begun)

    def lose_one(_: Sequence[OutgoingMessage]) -> None:
        assert begun[1].wait(WAIT_S)
        source.take_away("alerts", 1)

    sink = CallingSink(lose_one)
    runner_of(source, sink, decoder, Watched(scorer, lambda _: next(count).set())).run()
    # The first batch was on its way; of the second, judged by then, and the third only what is still ours.
    assert {partition for partition, _ in offsets_sent(sink)[BATCH:]} == {0, 2}
    assert ("alerts", 1) not in source.committed
    assert set(source.committed) == {("alerts", 0), ("alerts", 2)}


def test_a_stop_delivers_what_is_being_judged_and_what_was_polled(
    decoder: Decoder, scorer: Scorer, messages: list[Message]
) -> None:
    stop = threading.Event()
    source, sink = MemorySource(messages), CallingSink(lambda _: stop.set())
    runner_of(source, sink, decoder, Watched(scorer, lambda _: None), stop=stop).run()
    sent = offsets_sent(sink)
    assert 2 * BATCH <= len(sent) < len(messages)
    assert sent == [(message.partition, message.offset) for message in messages[: len(sent)]]
    assert sum(source.committed.values()) == len(sent)


def test_nothing_else_is_judged_when_a_bundle_may_change(
    decoder: Decoder, scorer: Scorer, messages: list[Message]
) -> None:
    events: list[tuple[str, str]] = []

    def note(what: str) -> None:
        events.append((what, threading.current_thread().name))

    source, sink = MemorySource(messages[: 3 * BATCH]), MemorySink()
    watched = Watched(scorer, lambda _: note("scored"))
    runner_of(source, sink, decoder, watched, between_batches=lambda: note("between")).run()
    assert [what for what, _ in events] == ["between", "scored"] * 3
    assert len({thread for _, thread in events}) == 1


class Late(MemorySource):
    """Has one batch, and the next when it is told to."""

    def __init__(self, messages: Sequence[Message]) -> None:
        super().__init__(messages)
        self.more = threading.Event()
        self._polls = 0

    def poll(self, batch_max: int, timeout_s: float) -> Sequence[Message]:
        self._polls += 1
        if self._polls > 1 and not self.more.wait(timeout_s):
            return []
        return super().poll(batch_max, timeout_s)


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a thread without a batch count as idle at once."""
    monkeypatch.setattr(judging, "IDLE_S", 0.001)


@pytest.mark.usefixtures("restless")
def test_the_thread_that_judges_has_something_to_do_while_no_batch_comes(
    decoder: Decoder, scorer: Scorer, messages: list[Message]
) -> None:
    events: list[tuple[str, str]] = []
    source, sink = Late(messages[: 2 * BATCH]), MemorySink()

    def note(what: str) -> None:
        events.append((what, threading.current_thread().name))
        if len(sink.sent) == BATCH and [what for what, _ in events[-3:]] == ["idle"] * 3:
            source.more.set()

    watched = Watched(scorer, lambda _: note("scored"))
    runner_of(source, sink, decoder, watched, when_idle=lambda: note("idle")).run()
    whats = [what for what, _ in events]
    first, second = (number for number, what in enumerate(whats) if what == "scored")
    assert first == 0  # there was nothing to do before there was anything
    assert set(whats[first + 1 : second]) == {"idle"}
    assert len({thread for _, thread in events}) == 1
    assert len(sink.sent) == 2 * BATCH


@pytest.mark.usefixtures("restless")
def test_what_fails_while_no_batch_comes_ends_the_process_at_once(
    decoder: Decoder, scorer: Scorer, messages: list[Message]
) -> None:
    source, sink = Late(messages[: 2 * BATCH]), MemorySink()
    calls: list[None] = []

    def fail_once() -> None:
        calls.append(None)
        if len(calls) == 1:
            raise ZeroDivisionError

    runner = runner_of(source, sink, decoder, Watched(scorer, lambda _: None), when_idle=fail_once)
    unless_stuck = threading.Timer(WAIT_S, source.more.set)
    unless_stuck.start()
    with capture_logs() as logs, pytest.raises(ZeroDivisionError):
        runner.run()
    assert not source.more.is_set()
    unless_stuck.cancel()
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["idle_work_failed"]
    assert (len(calls), len(sink.sent)) == (1, BATCH)
    assert judging_threads() == []


class Alive(QuietMonitor):
    """Tells when the loop has given a few signs of life."""

    def __init__(self) -> None:
        self.beats = 0

    def beat(self) -> None:
        self.beats += 1


class Attending(MemorySource):
    """Counts how often the group is answered."""

    def __init__(self, messages: Sequence[Message]) -> None:
        super().__init__(messages)
        self.answers = 0

    def stay(self) -> None:
        self.answers += 1


def test_while_a_batch_is_judged_the_loop_lives_and_answers_the_group(
    decoder: Decoder, scorer: Scorer, messages: list[Message]
) -> None:
    source, sink, monitor = Attending(messages[: 2 * BATCH]), MemorySink(), Alive()
    seen: list[tuple[int, int]] = []

    def take_long(_: list[int]) -> None:
        before, deadline = (monitor.beats, source.answers), time.monotonic() + WAIT_S
        while min(monitor.beats - before[0], source.answers - before[1]) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        seen.append((monitor.beats - before[0], source.answers - before[1]))

    runner_of(source, sink, decoder, Watched(scorer, take_long), monitor=monitor).run()
    assert len(seen) == 2
    assert offsets_sent(sink) == [(message.partition, message.offset) for message in messages[: 2 * BATCH]]


class Polled(QuietMonitor):
    """Hears how the polls went."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def retried(self, stage: str) -> None:
        if stage == "poll":
            self.heard.append("failed")

    def succeeded(self, stage: str) -> None:
        if stage == "poll":
            self.heard.append("worked")


class Interrupted(MemorySource):
    """Fails at all polls behind the first, or so many of them."""

    def __init__(self, messages: Sequence[Message], failures: float = float("inf")) -> None:
        super().__init__(messages)
        self.polls, self.failures = 0, failures

    def poll(self, batch_max: int, timeout_s: float) -> Sequence[Message]:
        self.polls += 1
        if 1 < self.polls <= 1 + self.failures:
            raise TransientError("the network is away")
        return super().poll(batch_max, timeout_s)


def test_a_poll_that_works_again_is_told_while_a_batch_is_judged(
    decoder: Decoder, scorer: Scorer, messages: list[Message]
) -> None:
    monitor = Polled()
    heard: list[list[str]] = []

    def take_long(_: list[int]) -> None:
        deadline = time.monotonic() + 5.0
        while monitor.heard[:3] != ["worked", "failed", "worked"] and time.monotonic() < deadline:
            time.sleep(0.01)
        heard.append(monitor.heard[:3])

    source, sink = Interrupted(messages[: 2 * BATCH], 1), MemorySink()
    runner_of(source, sink, decoder, Watched(scorer, take_long), monitor=monitor).run()
    assert heard[0] == ["worked", "failed", "worked"]
    assert offsets_sent(sink) == [(message.partition, message.offset) for message in messages[: 2 * BATCH]]


def test_polls_that_fail_while_a_batch_is_judged_have_pauses_between_them(
    decoder: Decoder, scorer: Scorer, messages: list[Message]
) -> None:
    stop, monitor = threading.Event(), Polled()
    source, sink = Interrupted(messages), CallingSink(lambda _: stop.set())
    watched = Watched(scorer, lambda _: time.sleep(1.5))
    pauses = Backoff(first_s=WAIT_S, cap_s=WAIT_S)
    runner_of(source, sink, decoder, watched, stop=stop, monitor=monitor, backoff=pauses).run()
    assert monitor.heard == ["worked", "failed"]
    assert len(sink.sent) == BATCH == sum(source.committed.values())


@pytest.mark.parametrize("why", ["stop", "stuck"])
def test_a_batch_that_does_not_end_is_given_up_uncommitted(
    decoder: Decoder, scorer: Scorer, messages: list[Message], why: str
) -> None:
    stop, release = threading.Event(), threading.Event()

    def hang(_: list[int]) -> None:
        if why == "stop":
            stop.set()
        release.wait(WAIT_S)

    source, sink = MemorySource(messages[:BATCH]), MemorySink()
    deadlines = {"stop_deadline_s": 0.5} if why == "stop" else {"judge_deadline_s": 0.5}
    runner = runner_of(source, sink, decoder, Watched(scorer, hang), stop=stop, **deadlines)
    begun = time.monotonic()
    if why == "stuck":
        threading.Timer(1.5, release.set).start()  # else its end would be waited for, as for any batch
    with pytest.raises(BatchAbandonedError, match=f"a batch of {BATCH} messages was (still|not) judged"):
        runner.run()
    assert time.monotonic() - begun < 10.0
    assert (source.committed, sink.sent) == ({}, [])
    release.set()


def test_a_stop_has_the_time_that_is_allowed_to_finish_a_batch(
    decoder: Decoder, scorer: Scorer, messages: list[Message]
) -> None:
    stop = threading.Event()

    def take_a_second(_: list[int]) -> None:
        stop.set()
        time.sleep(1.0)

    source, sink = MemorySource(messages[:BATCH]), MemorySink()
    runner_of(source, sink, decoder, Watched(scorer, take_a_second), stop=stop, stop_deadline_s=30.0).run()
    assert len(sink.sent) == BATCH == sum(source.committed.values())
