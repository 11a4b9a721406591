# SPDX-License-Identifier: BSD-3-Clause
"""What a scenario came to, as a file that the table in the documents is made from."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from broker_plugin.codec.verdict import verdict_id
from tests.drill.stream import AlertStream
from tests.drill.tail import Sighting
from tests.support.artefacts import REPOSITORY

__all__ = ["Outcome", "Record", "commit", "identities", "outcome_of", "processor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a reader of committed records found, compared with what was sent.

    Parameters
    ----------
    verdicts, dead_letters
        How many different ones.
    lost
        Messages of which there is neither.
    duplicated
        Records beyond the first of their message.
    astray
        Records that should not be: a verdict with another identity than its alert gives, a dead letter of a
        sound alert.
    """

    verdicts: int
    dead_letters: int
    lost: int
    duplicated: int
    astray: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One scenario that was run.

    Parameters
    ----------
    faults
        How often each was injected.
    recovery_s
        From a fault, with nothing else wrong at the time, to the first record of the afflicted partitions
        that a reader of committed records saw.
    start_s
        How much of it the killed worker's successor took until it was started.
    load
        Processes that wanted a core of the machine, on average: its own, the broker's, and other people's.
    exits
        How often a process ended by itself, by exit status, and was started again by its supervisor.
    seen
        What else there is to say.
    measured_on, commit
        The day, and the code: with a `+` where it had been changed since that commit.
    """

    scenario: str
    fault: str
    delivery: str
    protocol: str
    size: str
    seed: int
    alerts: int
    poisoned: int
    faults: dict[str, int]
    outcome: Outcome
    recovery_s: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    load: float = 0.0
    peak_rss_mb: float
    seconds: float
    exits: dict[str, int] = field(default_factory=dict)
    seen: str = ""
    processor: str = ""
    measured_on: str = ""
    commit: str = ""

    @property
    def failed_exits(self) -> dict[str, int]:
        """Those that nobody had asked for."""
        return {status: number for status, number in self.exits.items() if status != str(-signal.SIGTERM)}

    def summary(self) -> str:
        """Return it in one line."""
        outcome, times = self.outcome, self.recovery_s
        recovery = f", recovered in {median(times):.1f} s, {max(times):.1f} s at most" if times else ""
        return (
            f"{self.scenario}, {self.size}: "
            f"{outcome.verdicts} verdicts, {outcome.dead_letters} dead letters, "
            f"{outcome.lost} lost, {outcome.duplicated} twice, {outcome.astray} astray{recovery}, "
            f"{self.peak_rss_mb:.0f} MB, {self.seconds:.0f} s"
        )

    def write(self, folder: Path) -> Path:
        """Write it to `<folder>/<scenario>.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.scenario}.json"
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")
        return path

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Record:
        """Return the record of a file."""
        return cls(**{**table, "outcome": Outcome(**table["outcome"])})


def outcome_of(
    stream: AlertStream, verdicts: Iterable[Sighting], letters: Iterable[Sighting], *, digest: str
) -> Outcome:
    """Compare what was seen with what was sent.

    Parameters
    ----------
    digest
        Of the bundle, by which the identity of each verdict is known beforehand.
    """
    expected = identities(stream, digest)
    found, dead = _counted(verdicts), _counted(letters)
    lost = (expected - found.keys()) | (stream.poison_keys - dead.keys())
    astray = (found.keys() - expected) | (dead.keys() - stream.poison_keys)
    return Outcome(
        verdicts=len(found),
        dead_letters=len(dead),
        lost=len(lost),
        duplicated=sum(number - 1 for number in (*found.values(), *dead.values())),
        astray=len(astray),
    )


def identities(stream: AlertStream, digest: str) -> frozenset[bytes]:
    """Return the `verdict_id` of each alert of the stream."""
    return frozenset(verdict_id("ztf", number, digest).encode() for number in stream.alert_ids)


def processor() -> str:
    """Return what the numbers were measured on."""
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()}, {os.cpu_count()} cores"
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def commit() -> str:
    """Return the commit of this checkout, with a `+` where what runs has been changed since."""
    head = _git("rev-parse", "--short", "HEAD").strip()
    return head + ("+" if _git("status", "--porcelain", "--", "broker_plugin") else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return done.stdout


def _counted(sightings: Iterable[Sighting]) -> Counter[bytes]:
    return Counter(sighting.identity for sighting in sightings)


def _lines(path: Path) -> Sequence[str]:
    return path.read_text().splitlines() if path.exists() else ()
