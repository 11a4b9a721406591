# SPDX-License-Identifier: BSD-3-Clause
"""The stream and its store: away, back, empty, locked, and never in the way of a verdict."""

from __future__ import annotations

import dataclasses
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import StoreError
from broker_plugin.pipeline import recollection
from broker_plugin.pipeline.context import Contexts
from broker_plugin.pipeline.filter import AlertFilter
from broker_plugin.pipeline.history import Histories
from broker_plugin.pipeline.memory import MemoryRecipe
from broker_plugin.pipeline.recents import Recents
from broker_plugin.pipeline.recollection import Recollection
from broker_plugin.pipeline.stages import StageTimes
from broker_plugin.records import Access, Alert, AlertBatch, QualityFlag
from broker_plugin.service.metrics import Metrics
from broker_plugin.service.store_metrics import StoreCollector
from broker_plugin.store.address import StoreAddress
from broker_plugin.store.guard import GuardedStore
from broker_plugin.streams.base import Message
from broker_plugin.surveys.registry import SURVEYS, adapters
from tests.broker_plugin.store.stores import KINDS, address, counting_wire
from tests.broker_plugin.surveys.packets import JD, parts, ztf_alert, ztf_packet
from tests.support.redis import RedisServer

PUBLIC = frozenset({Access.PUBLIC})
NIGHTS = 6


def alerts_of(night: int, n_objects: int = 20) -> list[Alert]:
    """One alert of each object in a night, with nothing but itself in its packet."""
    return [
        ztf_alert(
            ztf_packet(
                top={"objectId": f"ZTF{n:02d}"}, candid=1_000 * night + n + 1, jd=JD + night + n / 1e4, rcid=n
            )
        )
        for n in range(n_objects)
    ]


class Stream:
    """A memory whose clock is in our hands."""

    def __init__(self, where: StoreAddress, *, timeout_s: float = 30.0, backlog_rows: int = 10_000) -> None:
        self.late_s = 0.0
        self.memory = Recollection(
            GuardedStore(
                dataclasses.replace(where, timeout_s=timeout_s).open,
                timeout_s=timeout_s,
                clock=lambda: time.monotonic() + self.late_s,
            ),
            Histories(adapters(), access=PUBLIC),
            Contexts(access=PUBLIC),
            Recents(access=PUBLIC, hours=0),
            backlog_rows=backlog_rows,
        )

    def judge(self, alerts: Sequence[Alert]) -> list[Alert]:
        recalled = self.memory.recall(alerts)
        self.memory.remember(alerts, [])
        return recalled

    def wait_out_the_pause(self) -> None:
        self.late_s += 60.0


def added(alerts: Sequence[Alert]) -> set[int | None]:
    return {alert.n_stored_epochs for alert in alerts}


def flagged(alerts: Sequence[Alert]) -> set[bool]:
    return {QualityFlag.STORE_AWAY in alert.flags for alert in alerts}


@pytest.mark.parametrize("kind", KINDS)
def test_each_night_adds_an_epoch_whatever_the_store(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    stream = Stream(address(kind, request, tmp_path))
    unique = f"{os.getpid()}-{time.time_ns()}"

    def own(alerts: Sequence[Alert]) -> list[Alert]:
        return [dataclasses.replace(alert, object_id=f"{alert.object_id}-{unique}") for alert in alerts]

    for night in range(4):
        recalled = stream.judge(own(alerts_of(night)))
        assert added(recalled) == {night}
        assert {len(alert.light_curve) for alert in recalled} == {night + 1}
    again = stream.judge(own(alerts_of(3)))
    assert [parts(alert) for alert in again] == [parts(alert) for alert in recalled]
    stream.memory.close()
    if kind != "memory":  # what is kept outlives the process
        later = Stream(address(kind, request, tmp_path))
        assert added(later.judge(own(alerts_of(4)))) == {4}
        later.memory.close()


@pytest.mark.service
def test_a_killed_redis_flags_the_alerts_and_catches_up(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis(durable=True)
    stream = Stream(StoreAddress(text=server.url))
    assert added(stream.judge(alerts_of(0))) == {0}
    server.kill()
    for night in (1, 2):
        recalled = stream.judge(alerts_of(night))
        assert added(recalled) == {None}
        assert flagged(recalled) == {True}
        assert {len(alert.light_curve) for alert in recalled} == {1}
    assert len(stream.memory.backlog) == 20
    server.restart()
    stream.wait_out_the_pause()
    recalled = stream.judge(alerts_of(3))
    assert flagged(recalled) == {False}
    assert added(recalled) == {3}  # those of the nights without a store among them
    assert len(stream.memory.backlog) == 0
    stream.memory.close()
    assert added(Stream(StoreAddress(text=server.url)).judge(alerts_of(4))) == {4}


def test_what_waits_at_the_end_is_written_if_the_store_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recollection, "BACKLOG_BATCH", 7)
    place = tmp_path / "store.sqlite"
    place.mkdir()  # no file can be opened there
    stream = Stream(StoreAddress(text=f"sqlite:{place}"))
    assert flagged(stream.judge(alerts_of(0))) == {True}
    place.rmdir()
    stream.wait_out_the_pause()
    stream.memory.close()
    later = Stream(StoreAddress(text=f"sqlite:{place}"))
    assert added(later.judge(alerts_of(1))) == {1}
    later.memory.close()


def test_a_store_is_found_again_and_caught_up_with_while_no_alert_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recollection, "BACKLOG_BATCH", 7)
    place = tmp_path / "store.sqlite"
    place.mkdir()  # no file can be opened there
    stream = Stream(StoreAddress(text=f"sqlite:{place}"))
    memory = stream.memory
    assert flagged(stream.judge(alerts_of(0))) == {True}
    stream.wait_out_the_pause()
    memory.catch_up()
    assert memory.store.away
    place.rmdir()
    memory.catch_up()
    assert memory.store.away  # it is left alone for a while
    waiting = []
    for _ in range(4):
        stream.wait_out_the_pause()
        memory.catch_up()
        waiting.append(len(memory.backlog))
    assert waiting == [13, 6, 0, 0]
    assert not memory.store.away
    assert added(stream.judge(alerts_of(1))) == {1}
    memory.close()


def test_a_store_is_found_again_where_nothing_waits_for_it(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.mkdir()
    stream = Stream(StoreAddress(text=f"sqlite:{path}"))
    stream.memory.catch_up()
    assert not stream.memory.store.errors  # nobody was asked
    with pytest.raises(StoreError):
        stream.memory.store.fetch(["the last alert of a night moves and has no history"])
    path.rmdir()
    stream.wait_out_the_pause()
    stream.memory.catch_up()
    assert not stream.memory.store.away
    stream.memory.close()


@pytest.mark.service
def test_a_redis_that_comes_back_empty_begins_anew(private_redis: Callable[..., RedisServer]) -> None:
    server = private_redis()
    stream = Stream(StoreAddress(text=server.url))
    for night in range(3):
        stream.judge(alerts_of(night))
    server.restart()
    stream.wait_out_the_pause()
    recalled = stream.judge(alerts_of(3))
    while flagged(recalled) == {True}:
        stream.wait_out_the_pause()
        recalled = stream.judge(alerts_of(3))
    assert added(recalled) == {0}
    assert added(stream.judge(alerts_of(4))) == {1}
    stream.memory.close()


@pytest.mark.service
def test_a_silent_redis_holds_the_stream_up_for_a_bounded_time(
    private_redis: Callable[..., RedisServer],
) -> None:
    server = private_redis()
    stream = Stream(StoreAddress(text=server.url), timeout_s=2.0)
    stream.judge(alerts_of(0))
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        times = StageTimes()
        for night in range(1, 40):
            with times.of("history"):
                recalled = stream.memory.recall(alerts_of(night, 3))
                stream.memory.remember(alerts_of(night, 3), [])
            assert flagged(recalled) == {True}
        # One call that waits in full, and those after the pauses of a second or more that this may take.
        assert stream.memory.store.errors["read"] <= 1 + times["history"] / 2
        assert stream.memory.store.errors["write"] == 0
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    stream.wait_out_the_pause()
    assert added(stream.judge(alerts_of(40, 3))) == {40}
    stream.memory.close()


@pytest.mark.service
def test_a_batch_is_one_round_trip_before_and_one_after_scoring(
    private_redis: Callable[..., RedisServer],
) -> None:
    server = private_redis()
    with counting_wire(server.port) as wire:
        stream = Stream(StoreAddress(text=f"redis://127.0.0.1:{wire.port}/0"))
        stream.judge(alerts_of(0))
        for night in range(1, 3):
            before = wire.round_trips
            recalled = stream.memory.recall(alerts_of(night))
            assert wire.round_trips == before + 1
            stream.memory.remember(alerts_of(night), [])
            assert wire.round_trips == before + 2
            assert added(recalled) == {night}
        before = wire.round_trips
        stream.judge(alerts_of(2))  # delivered again: nothing is to be written
        assert wire.round_trips == before + 1
        stream.memory.close()


def test_a_locked_file_is_a_store_that_is_away(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    stream = Stream(StoreAddress(text=f"sqlite:{path}"), timeout_s=1.0)
    assert added(stream.judge(alerts_of(0))) == {0}
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # others may read, nobody may write
    recalled = stream.judge(alerts_of(1))
    assert flagged(recalled) == {False}
    assert added(recalled) == {1}
    assert flagged(stream.judge(alerts_of(2))) == {True}
    other.execute("ROLLBACK")
    other.close()
    stream.wait_out_the_pause()
    assert added(stream.judge(alerts_of(3))) == {3}
    stream.memory.close()


def test_the_backlog_is_bounded_and_counts_what_it_drops(tmp_path: Path) -> None:
    stream = Stream(StoreAddress(text=f"sqlite:{tmp_path / 'none' / 'store'}"), backlog_rows=50)
    for night in range(NIGHTS):
        assert flagged(stream.judge(alerts_of(night))) == {True}
    backlog = stream.memory.backlog
    assert sum(len(backlog[key]) for key in backlog.oldest(100)) <= 50
    assert backlog.dropped >= NIGHTS * 20 - 50
    metrics = Metrics("ztf")
    metrics.registry.register(StoreCollector(stream.memory))
    text = metrics.exposition().decode()
    errors = stream.memory.store.errors["read"]
    assert errors >= 1
    assert f'broker_plugin_store_errors_total{{operation="read"}} {errors}.0' in text
    assert "broker_plugin_store_away 1.0" in text
    assert f"broker_plugin_store_dropped_epochs_total {backlog.dropped}.0" in text
    assert f"broker_plugin_store_backlog_objects {len(backlog)}.0" in text


class Squeamish:
    """A scorer that cannot bear what a store has added to the objects of odd number."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def score(
        self, alerts: AlertBatch, *, tense: Tense = Tense.CURRENT, received_at: datetime | None = None
    ) -> list[Verdict]:
        odd = alerts.alert_id % 2 == 1
        if (odd & (np.array([n or 0 for n in alerts.n_stored_epochs]) > 0)).any():
            raise ValueError("too much")
        return self._scorer.score(alerts, tense=tense, received_at=received_at)


def messages_of(packets: Sequence[object]) -> list[Message]:
    return [
        Message(topic="alerts", partition=0, offset=n, value=b"", packet=packet)  # type: ignore[arg-type]
        for n, packet in enumerate(packets)
    ]


def night_of(night: int) -> list[Message]:
    return messages_of(
        [
            ztf_packet(top={"objectId": f"ZTF{n:02d}"}, candid=100 * night + n + 1, jd=JD + night, rcid=n)
            for n in range(8)
        ]
    )


@pytest.fixture
def memory() -> Recollection:
    recipe = MemoryRecipe.of("memory", timeout_s=30)
    assert recipe is not None
    return recipe.open(SURVEYS, PUBLIC)


def test_what_the_store_adds_never_costs_a_verdict(
    decoder: Decoder, scorer: Scorer, memory: Recollection
) -> None:
    judge = AlertFilter(decoder, Squeamish(scorer), memory=memory).judge
    judge(night_of(0))
    times = StageTimes()
    judgements = judge(night_of(1), times=times)
    verdicts = [verdict for judgement in judgements for verdict in judgement.verdicts]
    assert len(verdicts) == 8
    left_out = [QualityFlag.STORE_LEFT_OUT in verdict.quality_flags for verdict in verdicts]
    assert left_out == [verdict.alert_id % 2 == 1 for verdict in verdicts]
    assert {(v.history_origin, v.n_stored_epochs) for v in verdicts} == {
        ("packet+store", 1),
        ("packet", None),
    }
    assert set(times) == {"decode", "history", "score"}


def test_an_alert_that_cannot_be_scored_is_not_remembered(
    decoder: Decoder, scorer: Scorer, memory: Recollection
) -> None:
    class Refusing(Squeamish):
        def score(
            self, alerts: AlertBatch, *, tense: Tense = Tense.CURRENT, received_at: datetime | None = None
        ) -> list[Verdict]:
            if (alerts.alert_id == 3).any():
                raise ValueError("not this one")
            return super().score(alerts, tense=tense, received_at=received_at)

    alert_filter = AlertFilter(decoder, Refusing(scorer), memory=memory)
    first = alert_filter.judge(night_of(0))
    assert [judgement.rejection is None for judgement in first] == [True, True, False] + [True] * 5
    second = AlertFilter(decoder, scorer, memory=memory).judge(night_of(1))
    assert [v.n_stored_epochs for j in second for v in j.verdicts] == [1, 1, 0] + [1] * 5


def test_a_file_survives_its_process(decoder: Decoder, scorer: Scorer, tmp_path: Path) -> None:
    recipe = MemoryRecipe.of(f"sqlite:{tmp_path / 'store'}", timeout_s=30)
    assert recipe is not None
    received = datetime(2026, 1, 1, tzinfo=UTC)
    said = []
    for _ in range(2):
        memory = recipe.open(SURVEYS, PUBLIC)
        judge = AlertFilter(decoder, scorer, memory=memory).judge
        said.append(
            [
                verdict._replace(emitted_at=received)
                for night in range(3)
                for judgement in judge(night_of(night), received_at=received)
                for verdict in judgement.verdicts
            ]
        )
        memory.close()
    assert said[0] == said[1]  # all of it delivered again, to a new process
    assert [v.n_stored_epochs for v in said[0]] == [0] * 8 + [1] * 8 + [2] * 8
