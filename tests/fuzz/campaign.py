# SPDX-License-Identifier: BSD-3-Clause
"""A campaign: many mutants over a few processes, watched from outside, resumed where it was stopped.

A worker that hangs, dies or is killed for its memory names the mutant by its last sign of life; another takes
over behind it.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psutil

from tests.fuzz.corpus import read_corpus
from tests.fuzz.mutants import Mutant, mutant
from tests.fuzz.subject import Finding, make_subject
from tests.support.memory import peak_mb

__all__ = ["Campaign", "Report", "run_campaign"]

CHUNK = 500
"""Mutants between two entries in the record."""

BATCH = 25
"""Mutants that are judged together, as in the service."""

HANG_CPU_S = 60.0
"""Most processor time of a batch: a hundred times what it takes. A busy machine stretches wall time."""

HANG_WALL_S = 1800.0
"""Longest wait for a worker that takes no processor time either: it is stuck."""

ADDRESS_SPACE_BYTES = 12 * 2**30
"""A worker that asks for more is refused, so that a bomb does not cost the machine."""

PEAK_MAX_MB = 1500
"""Memory of a worker, all of it: libraries and bundle take some 500 MB, the corpus 100, and a message at
most what its limits allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """What is to be done.

    Parameters
    ----------
    alerts
        Folder of real alerts.
    folder
        Where the record is kept.
    mutants, first
        How many, beginning with which number.
    workers
        Processes.
    decoder
        As for `make_subject`.
    """

    alerts: Path
    folder: Path
    mutants: int
    first: int = 0
    workers: int = 2
    decoder: str = ""


@dataclass(slots=True, kw_only=True)
class Report:
    """What came of it."""

    judged: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, Any]] = field(default_factory=list)
    peak_mb: int = 0
    seconds: float = 0.0

    def add(self, entry: dict[str, Any]) -> None:
        """Take in one entry of the record."""
        self.judged += entry["judged"]
        self.outcomes.update(entry["outcomes"])
        self.kinds.update(entry["kinds"])
        self.findings += entry["findings"]
        self.peak_mb = max(self.peak_mb, entry["peak_mb"])
        self.seconds += entry["seconds"]

    @property
    def sound(self) -> bool:
        """Whether every mutant kept the law, in bounded memory."""
        return not self.findings and self.peak_mb <= PEAK_MAX_MB


@dataclass(slots=True)
class _Worker:
    process: Any
    pipe: Connection
    alive_at: Any
    chunk: range
    seen: int = -1
    since: float = 0.0
    cpu_s: float = 0.0

    def alive_now(self) -> None:
        """Count from here whether it hangs."""
        self.since, self.cpu_s = time.monotonic(), _cpu_s(self.process.pid)

    def hangs(self) -> bool:
        """Tell whether it has given no sign of life for too long."""
        waited_s = time.monotonic() - self.since
        return _cpu_s(self.process.pid) - self.cpu_s > HANG_CPU_S or waited_s > HANG_WALL_S


def run_campaign(campaign: Campaign, *, progress: Any = None) -> Report:
    """Judge all mutants that the record does not hold yet, and return what the record says then.

    Parameters
    ----------
    progress
        Is called with the report after each chunk.
    """
    campaign.folder.mkdir(parents=True, exist_ok=True)
    record = campaign.folder / "record.jsonl"
    report, done = _read(record)
    span = range(campaign.first, campaign.first + campaign.mutants)
    left = iter([chunk for chunk in _chunks(span) if chunk.start not in done])
    with record.open("a", encoding="utf-8") as log:

        def note(entry: dict[str, Any]) -> None:
            log.write(json.dumps(entry) + "\n")
            log.flush()
            report.add(entry)
            if progress is not None:
                progress(report)

        workers = [worker for _ in range(campaign.workers) if (worker := _start(campaign, left)) is not None]
        try:
            while workers:
                workers = [
                    kept for each in workers if (kept := _look(each, campaign, left, note)) is not None
                ]
                wait([each.pipe for each in workers], timeout=1.0)
        finally:
            for each in workers:
                each.process.kill()
                each.process.join()
    return report


def _look(worker: _Worker, campaign: Campaign, left: Iterator[range], note: Any) -> _Worker | None:
    """Take what a worker has to say; return it, or the one that takes its place."""
    entry = None
    with suppress(EOFError, OSError):
        entry = worker.pipe.recv() if worker.pipe.poll() else None
    if entry is not None:
        note(entry)
        chunk = next(left, None)
        worker.pipe.send(chunk)
        if chunk is None:
            worker.process.join()
            return None
        worker.chunk, worker.seen = chunk, -1
        worker.alive_now()
        return worker
    if worker.alive_at.value != worker.seen:
        worker.seen = worker.alive_at.value
        worker.alive_now()
    hung = worker.hangs()
    if worker.process.is_alive() and not hung:
        return worker
    worker.process.kill()
    worker.process.join()
    number = worker.alive_at.value
    what = "hung" if hung else f"ended the process with status {worker.process.exitcode}"
    finding = Finding(number=number, kind="?", seed="?", what=f"{what} in the batch that begins here")
    start = max(number, worker.chunk.start)
    entry = {"start": -1, "judged": 0, "outcomes": {}, "kinds": {}, "peak_mb": 0}
    note(entry | {"seconds": 0.0, "findings": [asdict(finding)]})
    rest = range(start + BATCH, worker.chunk.stop)
    return _start(campaign, iter([rest]) if len(rest) else left)


def _start(campaign: Campaign, left: Iterator[range]) -> _Worker | None:
    chunk = next(left, None)
    if chunk is None:
        return None
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    alive_at = context.Value("q", chunk.start)
    process = context.Process(target=_work, args=(campaign, theirs, alive_at), daemon=True)
    process.start()
    theirs.close()
    ours.send(chunk)
    return _Worker(process, ours, alive_at, chunk, since=time.monotonic())


def _cpu_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _work(campaign: Campaign, pipe: Connection, alive_at: Any) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    corpus = read_corpus(campaign.alerts)
    subject = make_subject(corpus.write_schemas(campaign.folder / "schemas"), campaign.decoder)
    while (chunk := pipe.recv()) is not None:
        outcomes: Counter[str] = Counter()
        kinds: Counter[str] = Counter()
        findings: list[Finding] = []
        begun = time.monotonic()
        for start in range(chunk.start, chunk.stop, BATCH):
            alive_at.value = start
            batch: list[Mutant] = [
                mutant(corpus, number) for number in range(start, min(start + BATCH, chunk.stop))
            ]
            kinds.update(each.kind for each in batch)
            findings += subject.judge(batch, outcomes)
        pipe.send(
            {
                "start": chunk.start,
                "judged": len(chunk),
                "outcomes": dict(outcomes),
                "kinds": dict(kinds),
                "findings": [asdict(finding) for finding in findings],
                "peak_mb": round(peak_mb()),
                "seconds": round(time.monotonic() - begun, 3),
            }
        )


def _chunks(span: range) -> Iterator[range]:
    for start in range(span.start, span.stop, CHUNK):
        yield range(start, min(start + CHUNK, span.stop))


def _read(record: Path) -> tuple[Report, set[int]]:
    report, done = Report(), set()
    if record.exists():
        for line in record.read_text("utf-8").splitlines():
            entry = json.loads(line)
            report.add(entry)
            done.add(int(entry["start"]))
    return report, done
