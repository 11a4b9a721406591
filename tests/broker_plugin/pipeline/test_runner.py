# SPDX-License-Identifier: BSD-3-Clause
"""Nothing is lost, nothing is committed before it is acknowledged, and a stop is orderly."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from broker_plugin.codec.verdict import encode_container, verdict_id
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import TransientError
from broker_plugin.pipeline.backoff import Backoff
from broker_plugin.pipeline.batcher import Batcher
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.filter import AlertFilter
from broker_plugin.pipeline.monitor import BatchOutcome, QuietMonitor
from broker_plugin.pipeline.outbox import Outbox
from broker_plugin.pipeline.runner import Runner
from broker_plugin.streams.base import Message, OutgoingMessage
from broker_plugin.streams.memory import MemorySink, MemorySource

AT_ONCE = Backoff(first_s=0.001, cap_s=0.002)
OUTBOX = Outbox("verdicts", DeadLetters(topic="dead"))


def ends(messages: Sequence[Message]) -> dict[tuple[str, int], int]:
    """Offsets behind all messages."""
    behind: dict[tuple[str, int], int] = {}
    for message in messages:
        place = (message.topic, message.partition)
        behind[place] = max(behind.get(place, 0), message.offset + 1)
    return behind


def sources(sent: Sequence[OutgoingMessage]) -> list[tuple[int, int]]:
    """Partition and offset that each verdict or dead letter came from."""
    places = []
    for message in sent:
        headers = dict(message.headers)
        prefix = "source" if "source_offset" in headers else "dead_letter"
        places.append((int(headers[f"{prefix}_partition"]), int(headers[f"{prefix}_offset"])))
    return places


def places(messages: Sequence[Message]) -> list[tuple[int, int]]:
    return [(message.partition, message.offset) for message in messages]


class Counting(QuietMonitor):
    def __init__(self) -> None:
        self.retries: list[str] = []
        self.beats = 0
        self.lags: list[dict[str, int]] = []

    def beat(self) -> None:
        self.beats += 1

    def lagging(self, by_topic: Mapping[str, int]) -> None:
        self.lags.append(dict(by_topic))

    def retried(self, stage: str) -> None:
        self.retries.append(stage)


def test_every_message_comes_out_once_with_key_and_headers(
    alert_filter: AlertFilter, messages: list[Message], scorer: Scorer
) -> None:
    messages[5] = dataclasses.replace(messages[5], value=b"junk")
    source, sink = MemorySource(messages), MemorySink()
    outcomes: list[BatchOutcome] = []
    Runner(source, sink, alert_filter, OUTBOX, batcher=Batcher(batch_max=7), on_batch=outcomes.append).run()
    assert sorted(sources(sink.sent)) == sorted(places(messages))
    assert source.committed == ends(messages)
    assert len(sink.on("dead")) == 1
    assert [len(outcome.judgements) for outcome in outcomes] == [7, 7, 7, 7, 7, 5]
    verdicts = [verdict for outcome in outcomes for verdict in outcome.verdicts]
    for sent, verdict in zip(sink.on("verdicts"), verdicts, strict=True):
        headers = dict(sent.headers)
        assert sent.key == verdict.object_id.encode()
        assert headers["verdict_id"].decode() == verdict.verdict_id
        assert headers["bundle_digest"].decode() == scorer.bundle.digest
        assert headers["schema_version"] == b"1.0"
        assert headers["source_topic"] == b"alerts"
        assert sent.value[:4] == encode_container(verdict)[:4] == b"Obj\x01"
        assert verdict.verdict_id == verdict_id("ztf", verdict.alert_id, scorer.bundle.digest)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch_max=st.integers(1, 20),
    outages=st.lists(st.integers(0, 2), max_size=5),
    restarts=st.integers(0, 2),
)
def test_outages_and_restarts_lose_nothing(
    alert_filter: AlertFilter, messages: list[Message], batch_max: int, outages: list[int], restarts: int
) -> None:
    messages = messages[:15]
    source, sink = MemorySource(messages), MemorySink()
    for _ in range(restarts):
        # Stopped in the middle: with the sink down for good, the batch under way stays uncommitted.
        stop = threading.Event()
        sink.unavailable = 10_000
        stopper = Runner(
            source,
            sink,
            alert_filter,
            OUTBOX,
            batcher=Batcher(batch_max=batch_max),
            stop=stop,
            stop_deadline_s=0.0,
            backoff=AT_ONCE,
            monitor=StopAtRetry(stop),
        )
        with pytest.raises(TransientError, match="uncommitted"):
            stopper.run()
        assert source.committed == {}
        source.restart()
    sink.unavailable = 0
    pending = list(outages)

    def go_down(_: BatchOutcome) -> None:
        sink.unavailable = pending.pop() if pending else 0

    Runner(
        source,
        sink,
        alert_filter,
        OUTBOX,
        batcher=Batcher(batch_max=batch_max),
        backoff=AT_ONCE,
        on_batch=go_down,
    ).run()
    assert sorted(sources(sink.sent)) == sorted(places(messages))
    assert source.committed == ends(messages)


class StopAtRetry(QuietMonitor):
    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def retried(self, stage: str) -> None:
        self._stop.set()


def test_a_retry_sends_the_same_batch_and_is_counted(
    alert_filter: AlertFilter, messages: list[Message]
) -> None:
    source, sink, monitor = MemorySource(messages), MemorySink(unavailable=3), Counting()
    committed_at_retry: list[int] = []
    monitor_retried = monitor.retried

    def retried(stage: str) -> None:
        committed_at_retry.append(len(source.committed))
        monitor_retried(stage)

    monitor.retried = retried  # type: ignore[method-assign]
    with capture_logs() as events:
        Runner(source, sink, alert_filter, OUTBOX, backoff=AT_ONCE, monitor=monitor).run()
    assert monitor.retries == ["produce"] * 3
    assert committed_at_retry == [0, 0, 0]
    assert [event["stage"] for event in events if event["event"] == "stage_failed"] == ["produce"] * 3
    assert sources(sink.sent) == places(messages)
    assert monitor.beats > 3
    assert monitor.lags[0] == {"alerts": len(messages)}


def test_an_unexpected_error_leaves_the_batch_uncommitted(
    alert_filter: AlertFilter, messages: list[Message]
) -> None:
    class Broken(MemorySink):
        def send(self, messages: Sequence[OutgoingMessage]) -> None:
            if len(self.sent) >= 20:
                raise ZeroDivisionError
            super().send(messages)

    source, sink = MemorySource(messages), Broken()
    with pytest.raises(ZeroDivisionError):
        Runner(source, sink, alert_filter, OUTBOX, batcher=Batcher(batch_max=10)).run()
    assert source.committed == ends(messages[:20])


def test_a_stop_finishes_what_was_polled(alert_filter: AlertFilter, messages: list[Message]) -> None:
    stop = threading.Event()

    class StopAfterPoll(MemorySource):
        def poll(self, batch_max: int, timeout_s: float) -> Sequence[Message]:
            polled = super().poll(min(batch_max, 5), timeout_s)
            stop.set()
            return polled

    source, sink = StopAfterPoll(messages), MemorySink()
    Runner(source, sink, alert_filter, OUTBOX, stop=stop, batcher=Batcher(batch_age_s=60.0)).run()
    assert sources(sink.sent) == places(messages[:5])
    assert source.committed == ends(messages[:5])


def test_nothing_is_sent_or_committed_of_a_partition_that_was_taken_away(
    alert_filter: AlertFilter, messages: list[Message]
) -> None:
    source = MemorySource(messages)

    class RebalanceWhileAway(MemorySink):
        def send(self, messages: Sequence[OutgoingMessage]) -> None:
            if self.unavailable:
                source.take_away("alerts", 1)
            super().send(messages)

    sink = RebalanceWhileAway(unavailable=1)
    outcomes: list[BatchOutcome] = []
    Runner(source, sink, alert_filter, OUTBOX, backoff=AT_ONCE, on_batch=outcomes.append).run()
    left = [message for message in messages if message.partition != 1]
    assert source.committed == ends(left)
    assert sorted(sources(sink.sent)) == sorted(places(left))
    assert [j.message for outcome in outcomes for j in outcome.judgements] == left


def test_a_dead_letter_that_its_topic_does_not_take_is_shortened(
    alert_filter: AlertFilter, messages: list[Message]
) -> None:
    junk = dataclasses.replace(messages[3], value=b"\x01" * 60_000)
    source, sink = MemorySource([*messages[:3], junk]), MemorySink(message_max_bytes=50_000)
    Runner(source, sink, alert_filter, OUTBOX).run()
    (letter,) = sink.on("dead")
    assert letter.value == junk.value[:4096]
    assert dict(letter.headers)["dead_letter_size"] == b"60000"
    assert sorted(sources(sink.sent)) == sorted(places(messages[:4]))
    assert source.committed == ends(messages[:4])


def test_pauses_keep_the_source_alive(alert_filter: AlertFilter, messages: list[Message]) -> None:
    class Watched(MemorySource):
        kept_alive = 0

        def keep_alive(self) -> None:
            self.kept_alive += 1

    source = Watched(messages)
    backoff = Backoff(first_s=0.6, cap_s=0.6)
    Runner(source, MemorySink(unavailable=1), alert_filter, OUTBOX, backoff=backoff).run()
    assert source.kept_alive >= 2


def test_a_stop_does_not_wait_out_the_pause_after_a_failed_poll(
    alert_filter: AlertFilter, messages: list[Message]
) -> None:
    class Failing(MemorySource):
        def poll(self, batch_max: int, timeout_s: float) -> Sequence[Message]:
            raise TransientError("the network is away")

    stop = threading.Event()
    stopper = StopAtRetry(stop)
    begun_s = time.monotonic()
    Runner(
        Failing(messages),
        MemorySink(),
        alert_filter,
        OUTBOX,
        stop=stop,
        backoff=Backoff(first_s=10.0, cap_s=10.0),
        monitor=stopper,
    ).run()
    assert time.monotonic() - begun_s < 4.0


def test_a_poll_that_fails_does_not_hold_up_the_open_batch(
    alert_filter: AlertFilter, messages: list[Message]
) -> None:
    class Flaky(MemorySource):
        polls = 0

        def poll(self, batch_max: int, timeout_s: float) -> Sequence[Message]:
            self.polls += 1
            if self.polls % 2 == 0:
                raise TransientError("the network is away")
            return super().poll(5, timeout_s)

    source, sink, monitor = Flaky(messages), MemorySink(), Counting()
    Runner(source, sink, alert_filter, OUTBOX, backoff=AT_ONCE, monitor=monitor).run()
    assert sources(sink.sent) == places(messages)
    assert set(monitor.retries) == {"poll"}


def test_the_pause_after_a_failed_poll_ends_when_the_open_batch_is_due(
    alert_filter: AlertFilter, messages: list[Message]
) -> None:
    class Broken(MemorySource):
        def poll(self, batch_max: int, timeout_s: float) -> Sequence[Message]:
            if len(self._waiting) < len(messages):
                raise TransientError("the network is away")
            return super().poll(5, timeout_s)

    stop = threading.Event()
    source, sink = Broken(messages), MemorySink()
    begun_s = time.monotonic()
    Runner(
        source,
        sink,
        alert_filter,
        OUTBOX,
        stop=stop,
        batcher=Batcher(batch_age_s=0.5),
        backoff=Backoff(first_s=60.0, cap_s=60.0),
        on_batch=lambda _: stop.set(),
    ).run()
    assert time.monotonic() - begun_s < 20.0
    assert sources(sink.sent) == places(messages[:5])


def test_a_batch_that_a_stop_leaves_says_what_to_do_as_its_error_did(
    alert_filter: AlertFilter, messages: list[Message]
) -> None:
    class Away(MemorySink):
        def send(self, messages: Sequence[OutgoingMessage]) -> None:
            raise TransientError("no broker answers", remedy="is it up?")

    stop = threading.Event()
    with pytest.raises(TransientError, match="a batch uncommitted: no broker answers; is it up") as left:
        Runner(
            MemorySource(messages),
            Away(),
            alert_filter,
            OUTBOX,
            stop=stop,
            stop_deadline_s=0.0,
            backoff=AT_ONCE,
            monitor=StopAtRetry(stop),
        ).run()
    assert left.value.remedy == "is it up?"
