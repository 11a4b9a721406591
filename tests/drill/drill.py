# SPDX-License-Identifier: BSD-3-Clause
"""One scenario: a stream that flows, a team that reads it, a reader behind them, and a fault injected."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any, Self

from tests.drill.feeder import Feeder
from tests.drill.plan import Plan
from tests.drill.record import Record, commit, outcome_of, processor
from tests.drill.stream import AlertStream, Wire
from tests.drill.tail import Sighting, Tail
from tests.drill.team import Team, Worker
from tests.e2e.service import Topics
from tests.support.kafka import KafkaBroker

__all__ = ["Drill", "Wound", "everything"]

LOOK_S = 0.05
"""Time between two looks; the resolution of what is measured."""

MINUTES = "ASTROM3_TEST_DRILL_MINUTES"
"""Variable with the time after which faults are no longer injected; the record then says so."""

START_S = 300.0
"""Two processes open their bundles beside a broker that starts, on two cores that others use too."""

DRAIN_S = 600.0
"""Longest wait for the rest of the stream once the faults are over: a name that left holds its partitions for
the session's 45 s, and then there is a backlog."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wound:
    """A fault that was injected, and by what its recovery is told."""

    since_s: float
    since_ms: int
    partitions: frozenset[int]
    sightings: int


def everything(plan: Plan) -> frozenset[int]:
    """Return all partitions of a plan's input."""
    return frozenset(range(plan.partitions))


class Drill:
    """Runs a plan; the block of its `with` injects the fault.

    Parameters
    ----------
    plan
        What to run.
    folder
        For logs.
    broker
        The Kafka that is read and written.
    packets
        Real alerts.
    seed
        Of everything that is random.
    wire
        As for `AlertStream`.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        folder: Path,
        broker: KafkaBroker,
        packets: Sequence[bytes],
        seed: int,
        wire: Wire = bytes,
    ) -> None:
        self.plan = plan
        self.broker = broker
        self.random = random.Random(seed)
        self.recovery_s: list[float] = []
        self.start_s: list[float] = []
        self._loads: list[float] = []
        self.faults: Counter[str] = Counter()
        self.seen: list[str] = []
        self._seed = seed
        self._begun = time.monotonic()
        self._cut = ""
        self._stack = ExitStack()
        self.topics = Topics(broker, lambda role: f"{plan.scenario}-{role}", partitions=plan.partitions)
        self.stream = AlertStream(packets, size=plan.alerts, poisoned=plan.poisoned, seed=seed, wire=wire)
        flags = ["--delivery", plan.delivery, "--group-protocol", plan.protocol, *plan.flags]
        self.team = Team(folder, [*self.topics.flags, *flags])

    def __enter__(self) -> Self:
        self._stack.callback(self.team.kill)
        self.tail = Tail(self.broker, [self.topics.output, self.topics.dead_letters])
        self._stack.callback(self.tail.close)
        self.feeder = Feeder(self.broker, self.topics.input, self.stream, rate_per_s=self.plan.rate_per_s)
        self._stack.callback(self.feeder.close)
        for _ in range(self.plan.workers):
            self.team.hire()
        self.wait(lambda: all(worker.partitions() for worker in self.team.serving), timeout_s=START_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait(self, condition: Callable[[], Any], *, timeout_s: float) -> None:
        """Wait until something holds, while the team is supervised."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                tails = "\n".join(w.process.tail(15) for w in self.team.workers if w.process is not None)
                raise TimeoutError(f"{self.plan.scenario}: waited {timeout_s:g} s in vain\n{tails}")
            self._look()
            time.sleep(LOOK_S)

    def pause(self, seconds: float) -> None:
        """Let time pass, while the team is supervised."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._look()
            time.sleep(min(LOOK_S, max(0.0, end - time.monotonic())))

    def wound(self, fault: str, partitions: frozenset[int]) -> Wound:
        """Note that a fault is injected now, and whom it afflicts."""
        self.faults[fault] += 1
        return Wound(
            since_s=time.monotonic(),
            since_ms=int(time.time() * 1000),
            partitions=partitions,
            sightings=len(self.tail.sightings),
        )

    def over(self, wound: Wound) -> Wound:
        """Note that a fault is over: recovery counts from now."""
        return replace(wound, since_s=time.monotonic())

    def kill(self, worker: Worker) -> Wound:
        """Kill a worker and start the next process in its place."""
        partitions = frozenset(worker.partitions()) or everything(self.plan)
        worker.kill()
        wound = self.wound("worker killed", partitions)
        worker.start()
        return wound

    def healed(self, wound: Wound, *, timeout_s: float) -> float:
        """Wait until a reader sees new records of the afflicted partitions; return how long that took.

        Nothing, where others have taken the partitions over before the fault was over.
        """

        def seen() -> float | None:
            return self.tail.seen_after(wound.since_ms, wound.partitions, since=wound.sightings)

        self.wait(lambda: seen() is not None, timeout_s=timeout_s)
        last = seen()
        assert last is not None
        return max(0.0, last - wound.since_s)

    def out_of_time(self) -> bool:
        """Tell whether the time for the scenario is over; then end its stream here."""
        minutes = float(os.environ.get(MINUTES) or "inf")
        if not self._cut and time.monotonic() - self._begun > 60.0 * minutes:
            self.feeder.cut()
            self._cut = f", cut after {minutes:g} min"
        return bool(self._cut)

    def note_recovery(self, wound: Wound, worker: Worker | None = None, *, timeout_s: float) -> None:
        """Wait for the recovery and take down how long it took, and how much of that a worker's start."""
        self.recovery_s.append(self.healed(wound, timeout_s=timeout_s))
        if worker is not None:

            def starts() -> list[str]:
                return [str(each["timestamp"]) for each in worker.events() if each["event"] == "started"]

            # The others may have taken its partitions over and be at work while it still warms up.
            self.wait(lambda: bool(starts()), timeout_s=timeout_s)
            self.start_s.append(datetime.fromisoformat(starts()[0]).timestamp() - wound.since_ms / 1000)

    def drain(self) -> None:
        """Send the rest of the stream, wait until all of it is done, and end the team in order."""
        self.feeder.finish()
        ends = self.broker.end_offsets(self.topics.input)
        assert sum(ends.values()) == self.stream.size, "the stream itself has not arrived as it was sent"
        self.wait(lambda: self.topics.committed() == self.stream.size, timeout_s=DRAIN_S)
        leaving = [worker for worker in self.team.workers if worker.dismissed]
        self.wait(lambda: not any(worker.alive for worker in leaving), timeout_s=START_S)
        self.team.stop()

    def record(self) -> Record:
        """Read both topics from their beginning and return what all of it came to."""
        verdicts, letters = self._read_again()
        # The first member may have been told to leave before it had opened its bundle.
        events = (event for worker in self.team.workers for event in worker.events())
        digest = next(event["digest"] for event in events if event["event"] == "bundle_opened")
        return Record(
            scenario=self.plan.scenario,
            fault=self.plan.fault,
            delivery=self.plan.delivery,
            protocol=self.plan.protocol,
            size=self.plan.size + self._cut,
            seed=self._seed,
            alerts=self.stream.size,
            poisoned=len(self.stream.poisoned),
            faults=dict(self.faults),
            outcome=outcome_of(self.stream, verdicts, letters, digest=str(digest)),
            recovery_s=[round(seconds, 2) for seconds in self.recovery_s],
            start_s=[round(seconds, 2) for seconds in self.start_s],
            load=round(fmean(self._loads), 1),
            peak_rss_mb=round(self.team.peak_rss_mb, 1),
            seconds=round(time.monotonic() - self._begun, 1),
            exits={str(status): number for status, number in sorted(self.team.exits.items())},
            seen="; ".join(self.seen),
            processor=processor(),
            measured_on=datetime.now(UTC).date().isoformat(),
            commit=commit(),
        )

    def _look(self) -> None:
        self.team.supervise()
        self._loads.append(os.getloadavg()[0])

    def _read_again(self) -> tuple[list[Sighting], list[Sighting]]:
        # Not what the live reader saw: that one was there while the broker came and went.
        reader = Tail(self.broker, [self.topics.output, self.topics.dead_letters])
        try:
            reader.wait_to_the_end(timeout_s=DRAIN_S)
        finally:
            reader.close()
        found = reader.sightings
        return (
            [sighting for sighting in found if sighting.topic == self.topics.output],
            [sighting for sighting in found if sighting.topic == self.topics.dead_letters],
        )
