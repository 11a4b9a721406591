# SPDX-License-Identifier: BSD-3-Clause
"""Members that come and go every few seconds: nobody's work is lost, and nothing is done twice."""

from __future__ import annotations

import time

import pytest

from tests.drill.conftest import StartDrill
from tests.drill.drill import Drill
from tests.drill.plan import FULL, TENTH, Plan

pytestmark = pytest.mark.service

FEWEST, MOST = 2, 4

EVERY_S = (1.0, 5.0)
"""Between two changes."""

FULL_ONLY = pytest.mark.drill


@pytest.mark.parametrize(
    ("size", "delivery", "protocol"),
    [
        (TENTH, "exactly-once", "classic"),
        pytest.param(FULL, "exactly-once", "classic", marks=FULL_ONLY),
        pytest.param(FULL, "exactly-once", "consumer", marks=FULL_ONLY),
        pytest.param(FULL, "at-least-once", "classic", marks=FULL_ONLY),
        pytest.param(FULL, "at-least-once", "consumer", marks=FULL_ONLY),
    ],
)
def test_coming_and_going(drill: StartDrill, size: str, delivery: str, protocol: str) -> None:
    part = 1 if size == FULL else 10
    change_s = 120.0 / part
    plan = Plan(
        scenario=f"members-{delivery}-{protocol}",
        fault=f"two to four members coming and going for {change_s:g} s",
        size=size,
        alerts=4000 // part,
        poisoned=20 // part,
        delivery=delivery,
        protocol=protocol,
        rate_per_s=30.0,
        partitions=8,
    )
    with drill(plan) as it:
        it.feeder.release(plan.alerts)
        come_and_go(it, for_s=change_s)


def come_and_go(it: Drill, *, for_s: float) -> None:
    """Let members come and go."""
    end = time.monotonic() + for_s
    while time.monotonic() < end:
        it.pause(it.random.uniform(*EVERY_S))
        serving = it.team.serving
        if len(serving) <= FEWEST or (len(serving) < MOST and it.random.random() < 0.5):
            it.faults["member came"] += 1
            it.team.hire()
        else:
            it.faults["member went"] += 1
            it.random.choice(serving).dismiss()
