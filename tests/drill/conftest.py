# SPDX-License-Identifier: BSD-3-Clause
"""Where a drill's randomness comes from, where its records go, and that one that is done is not repeated."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.drill.drill import Drill
from tests.drill.plan import Plan
from tests.drill.stream import Wire
from tests.support.artefacts import REPOSITORY
from tests.support.kafka import KafkaBroker

StartDrill = Callable[..., AbstractContextManager[Drill]]

SEED = "ASTROM3_TEST_DRILL_SEED"
"""Variable with the seed of a run that is to be repeated."""

RECORDS = "ASTROM3_TEST_DRILL_RECORDS"
"""Variable with the folder of the records, `runs/drill` by default."""


PATIENT = {"broker.session.timeout.ms": "9000"}
"""Kafka's default. A broker that starves beside a dozen processes would be taken for lost after the 3 s of
the other tests."""


@pytest.fixture(scope="session")
def drill_seed() -> int:
    """The seed of all that is random in this run: a new one each time, or the given one."""
    return int(os.environ.get(SEED) or secrets.randbelow(2**31))


@pytest.fixture(scope="session")
def stream_packets(data_dir: Path) -> tuple[bytes, ...]:
    """Real packets with all that they were broadcast with."""
    return tuple(path.read_bytes() for path in sorted((data_dir / "alerts/ztf/native").glob("*.avro")))


@pytest.fixture
def drill(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    private_kafka: Callable[..., KafkaBroker],
    stream_packets: tuple[bytes, ...],
    drill_seed: int,
) -> StartDrill:
    """Maker of drills: `with drill(plan, broker=...) as running:` injects faults, then all is counted.

    A scenario at full size leaves a record, and where there is one already it is not run again.
    """
    plugins = request.config.pluginmanager

    def say(line: str) -> None:
        with plugins.getplugin("capturemanager").global_and_fixture_disabled():
            plugins.getplugin("terminalreporter").write_line(line)

    kept = Path(os.environ.get(RECORDS) or REPOSITORY / "runs" / "drill")

    @contextmanager
    def start(plan: Plan, *, broker: KafkaBroker | None = None, wire: Wire = bytes) -> Iterator[Drill]:
        if plan.is_kept and (kept / f"{plan.scenario}.json").exists():
            pytest.skip(f"{plan.scenario} is done; remove its record from {kept} to repeat it")
        say(f"\n{plan.scenario}, {plan.size}: {SEED}={drill_seed}")
        running = Drill(
            plan,
            folder=tmp_path / "team",
            broker=broker or private_kafka(PATIENT),
            packets=stream_packets,
            seed=drill_seed,
            wire=wire,
        )
        with running:
            yield running
            running.drain()
            record = running.record()
        record.write(kept if plan.is_kept else tmp_path)
        say(record.summary())
        assert plan.keeps_its_promise(record.outcome), record

    return start
