# SPDX-License-Identifier: BSD-3-Clause
"""Redis killed and back empty, slow, cut off: the stream goes on without it, and then uses it again."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.drill.conftest import StartDrill
from tests.drill.drill import Drill, everything
from tests.drill.plan import FULL, TENTH, Plan
from tests.drill.team import Worker
from tests.support.gate import Gate
from tests.support.process import LOOPBACK
from tests.support.redis import RedisServer

pytestmark = pytest.mark.service

OVERCOME_S = 150.0
"""Longest wait until the store is missed, and until it is used again: it is asked twice a minute or more."""

SLOW_S = 2.0
"""What a slow store adds to each request: longer than it is waited for."""


@pytest.mark.parametrize(
    ("size", "delivery"),
    [
        (TENTH, "at-least-once"),
        pytest.param(FULL, "exactly-once", marks=pytest.mark.drill),
        pytest.param(FULL, "at-least-once", marks=pytest.mark.drill),
    ],
)
def test_away_and_back(
    drill: StartDrill, private_redis: Callable[..., RedisServer], size: str, delivery: str
) -> None:
    part, away_s = (1, 20.0) if size == FULL else (10, 2.0)
    redis = private_redis()
    with Gate(redis.port) as gate:
        plan = Plan(
            scenario=f"store-away-{delivery}",
            fault=f"Redis killed and back empty, slow ({SLOW_S:g} s), cut off, each for {away_s:g} s",
            size=size,
            alerts=4000 if size == FULL else 1000,
            poisoned=20 // part,
            delivery=delivery,
            rate_per_s=15.0,  # what is missed are calls for alerts: they must last through the faults
            flags=("--store", f"redis://{LOOPBACK}:{gate.port}/0"),
        )

        def slow(delay_s: float) -> None:
            gate.delay_s = delay_s

        with drill(plan) as it:
            it.feeder.release(plan.alerts)
            it.wait(lambda: len(it.tail.sightings) > plan.alerts / 10, timeout_s=OVERCOME_S)
            go_through(it, "Redis killed", redis.kill, lambda: redis.start(), for_s=away_s)
            go_through(it, "Redis slow", lambda: slow(SLOW_S), lambda: slow(0.0), for_s=away_s)
            go_through(it, "Redis cut off", gate.shut, gate.open, for_s=away_s)


def go_through(
    it: Drill, fault: str, begin: Callable[[], object], end: Callable[[], object], *, for_s: float
) -> None:
    """Inject a fault of the store, see that the stream goes on, and take down when it is used again."""
    failed, back = count(it, "store_failed"), count(it, "store_back")
    it.wound(fault, everything(it.plan))
    begin()
    it.wait(lambda: grown(it, "store_failed", failed), timeout_s=OVERCOME_S)
    seen = len(it.tail.sightings)
    it.pause(for_s)
    it.wait(lambda: len(it.tail.sightings) > seen, timeout_s=OVERCOME_S)
    end()
    mended_s = time.monotonic()
    it.wait(lambda: grown(it, "store_back", back), timeout_s=OVERCOME_S)
    it.recovery_s.append(time.monotonic() - mended_s)


def count(it: Drill, event: str) -> dict[Worker, int]:
    """Return how often each worker has logged an event."""
    return {worker: _count(worker, event) for worker in it.team.workers}


def grown(it: Drill, event: str, before: dict[Worker, int]) -> bool:
    """Tell whether each worker has logged it once more."""
    return all(_count(worker, event) > before[worker] for worker in it.team.workers)


def _count(worker: Worker, event: str) -> int:
    return sum(found["event"] == event for found in worker.events())
