# SPDX-License-Identifier: BSD-3-Clause
"""Kafka restarted, held for a minute, or out of disk: everything comes, and nobody has to look after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.drill.conftest import StartDrill
from tests.drill.drill import everything
from tests.drill.plan import FULL, TENTH, Plan
from tests.support.kafka import KafkaBroker
from tests.support.small_disk import SmallDisk, small_disk

pytestmark = pytest.mark.service

DELIVERIES = ["exactly-once", "at-least-once"]

FULL_SIZE = [pytest.param(FULL, delivery, marks=pytest.mark.drill) for delivery in DELIVERIES]
"""Each fault in both modes; the usual tests run each in one."""

OVERCOME_S = 150.0
"""Longest wait for new verdicts when Kafka is back: a transaction may have to time out first."""

DISK_MB = 600
"""Room for the stream and the verdicts at full size, and for what Kafka itself keeps."""

MORE_BYTES = 8_000_000
"""Room that is left when the disk is filled up: a hundred alerts, so that it ends in mid-stream."""


def plan(scenario: str, fault: str, *, delivery: str, size: str, flags: tuple[str, ...] = ()) -> Plan:
    part = 1 if size == FULL else 10
    return Plan(
        scenario=f"{scenario}-{delivery}",
        fault=fault,
        size=size,
        alerts=4000 // part,
        poisoned=20 // part,
        delivery=delivery,
        rate_per_s=40.0,
        flags=flags,
    )


@pytest.mark.parametrize(("size", "delivery"), [(TENTH, "exactly-once"), *FULL_SIZE])
def test_restarted(drill: StartDrill, size: str, delivery: str) -> None:
    restarts = 5 if size == FULL else 1
    with drill(
        plan("kafka-restarted", "Kafka stopped and started again", delivery=delivery, size=size)
    ) as it:
        flows_s = it.plan.alerts / (restarts + 1) / it.plan.rate_per_s
        for number in range(restarts):
            it.feeder.release(it.plan.alerts * (number + 1) // (restarts + 1))
            it.pause(it.random.uniform(0.1, 0.6) * flows_s)
            it.broker.stop()
            wound = it.wound("Kafka restarted", everything(it.plan))
            it.broker.start()
            it.note_recovery(it.over(wound), timeout_s=OVERCOME_S)


@pytest.mark.parametrize(("size", "delivery"), [(TENTH, "exactly-once"), *FULL_SIZE])
def test_held(drill: StartDrill, size: str, delivery: str) -> None:
    held_s = 60.0 if size == FULL else 6.0
    fault = f"Kafka held (SIGSTOP) for {held_s:g} s"
    with drill(plan("kafka-held", fault, delivery=delivery, size=size)) as it:
        it.feeder.release(it.plan.alerts)
        it.wait(lambda: len(it.tail.sightings) > it.plan.alerts / 10, timeout_s=OVERCOME_S)
        it.pause(it.random.uniform(0.0, 1.0))
        wound = it.wound("Kafka held", everything(it.plan))
        it.broker.pause()
        it.pause(held_s)
        held = it.over(wound)  # what was under way comes at once
        it.broker.resume()
        it.note_recovery(held, timeout_s=OVERCOME_S)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk for Kafka's data that can be filled."""
    with small_disk(tmp_path / "cramped" / "data", size_mb=DISK_MB) as mounted:
        yield mounted


@pytest.mark.parametrize(("size", "delivery"), [(TENTH, "at-least-once"), *FULL_SIZE])
def test_out_of_disk(
    drill: StartDrill, disk: SmallDisk, private_kafka: Callable[..., KafkaBroker], size: str, delivery: str
) -> None:
    """Kafka ends itself when its only disk is full; its supervisor starts it again when there is room."""
    full_s = 30.0 if size == FULL else 3.0
    planned = plan("disk-full", "Kafka's disk full", delivery=delivery, size=size)
    with drill(planned, broker=private_kafka(folder=disk.folder.parent)) as it:
        it.feeder.release(it.plan.alerts)
        it.wait(lambda: len(it.tail.sightings) > it.plan.alerts / 10, timeout_s=OVERCOME_S)
        disk.fill(leave_bytes=MORE_BYTES)
        it.wait(lambda: not it.broker.process.alive, timeout_s=OVERCOME_S)
        wound = it.wound("disk full", everything(it.plan))
        it.seen.append(_last_words(it.broker))
        it.pause(full_s)
        disk.free()
        it.broker.restart()
        it.note_recovery(it.over(wound), timeout_s=OVERCOME_S)


def _last_words(broker: KafkaBroker) -> str:
    known = {
        "all log dirs": "the broker ended itself, since its only log directory had failed",
        "SIGBUS": "the broker's process crashed on a write to a mapped index",
    }
    said = broker.process.log_path.read_text()
    return next((meaning for words, meaning in known.items() if words in said), "the broker's process ended")
