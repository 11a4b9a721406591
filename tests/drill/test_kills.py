# SPDX-License-Identifier: BSD-3-Clause
"""Workers killed at random moments, and the broker too, in the middle of a stream with poison in it."""

from __future__ import annotations

import pytest

from tests.drill.conftest import StartDrill
from tests.drill.drill import Drill, everything
from tests.drill.plan import FULL, TENTH, Plan

pytestmark = pytest.mark.service

HURRIED = 0.2
"""Share of the kills that do not wait until the one before is overcome."""

VISIBLE_S = {"classic": 15.0, "consumer": 60.0}
"""Time in which there are new verdicts after one kill and restart. A KIP-848 broker gives a killed member's
partitions away when its session has run out, 45 s by default."""

OVERCOME_S = 300.0
"""Longest wait for that, so that a slow recovery is measured and not merely given up."""


def inject(drill: Drill, *, kills: int, broker_kills: int) -> None:
    """Kill random workers, and the broker, at random moments of the stream."""
    moments = kills + broker_kills
    broker_at = {round((number + 1) * moments / (broker_kills + 1)) for number in range(broker_kills)}
    instalment = drill.plan.alerts / (moments + 1)
    for number in range(moments):
        if drill.out_of_time():
            return
        # Enough is let go that the stream flows while the next blow is waited for.
        drill.feeder.release(round(instalment * (number + 1)))
        drill.pause(drill.random.uniform(0.0, instalment / drill.plan.rate_per_s))
        if number in broker_at:
            drill.broker.kill()
            wound = drill.wound("broker killed", everything(drill.plan))
            drill.feeder.release(round(instalment * (number + 2)))
            drill.broker.start()
            seconds = drill.healed(wound, timeout_s=OVERCOME_S)
            drill.seen.append(f"after the broker's end new verdicts in {seconds:.0f} s")
            continue
        hurried = drill.random.random() < HURRIED
        drill.wait(lambda: all(worker.alive for worker in drill.team.workers), timeout_s=OVERCOME_S)
        worker = drill.random.choice(drill.team.workers)
        wound = drill.kill(worker)
        drill.feeder.release(round(instalment * (number + 2)))
        if not hurried:
            drill.note_recovery(wound, worker, timeout_s=OVERCOME_S)


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
@pytest.mark.parametrize(
    ("size", "protocol"),
    [
        (TENTH, "classic"),
        pytest.param(FULL, "classic", marks=pytest.mark.drill),
        # Each kill costs a session's time here: three quarters of an hour in all.
        pytest.param(FULL, "consumer", marks=pytest.mark.drill),
    ],
)
def test_killed_at_random_moments(drill: StartDrill, delivery: str, size: str, protocol: str) -> None:
    part = 1 if size == FULL else 10
    plan = Plan(
        scenario=f"kills-{delivery}-{protocol}",
        fault="random worker killed, broker killed",
        size=size,
        alerts=20_000 // part,
        poisoned=100 // part,
        delivery=delivery,
        protocol=protocol,
    )
    with drill(plan) as running:
        inject(running, kills=50 // part, broker_kills=2 if size == FULL else 1)
    assert max(running.recovery_s) < VISIBLE_S[protocol]
