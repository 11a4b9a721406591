# SPDX-License-Identifier: BSD-3-Clause
"""Write the table of what was drilled: `python -m tests.drill.table [FOLDER]`.

The records of a run (`runs/drill`) take the place of those of the same scenario in `deploy/docs/faults.json`,
and the table between the two markers of `deploy/docs/faults.md` is written anew from all of them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from tests.drill.record import Record
from tests.support.artefacts import REPOSITORY

__all__ = ["BEGIN", "DOCUMENT", "END", "KEPT", "main", "read_kept", "table", "with_table"]

DOCUMENT = REPOSITORY / "deploy" / "docs" / "faults.md"
KEPT = DOCUMENT.with_suffix(".json")
BEGIN, END = "<!-- drill: begin -->", "<!-- drill: end -->"

HEAD = (
    "fault",
    "delivery, group protocol",
    "alerts (poisoned)",
    "injected",
    "lost",
    "twice",
    "verdicts + dead letters",
    "recovery, s: median (max)",
    "peak memory of a worker, MB",
    "size",
    "measured on, at commit",
)


def table(records: Iterable[Record]) -> str:
    """Return the records as a table in Markdown."""
    ordered = sorted(records, key=lambda record: (record.fault, record.delivery, record.protocol))
    if not ordered:
        return "No record yet."
    rows = [HEAD, ["---"] * len(HEAD), *map(_cells, ordered)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", *_conditions(ordered), *_remarks(ordered)])


def with_table(document: str, records: Iterable[Record]) -> str:
    """Return a document with the table between its markers."""
    before, _, rest = document.partition(BEGIN)
    _, _, behind = rest.partition(END)
    return f"{before}{BEGIN}\n{table(records)}\n{END}{behind}"


def read_kept() -> list[Record]:
    """Return the records that the table is made from."""
    return [Record.of(each) for each in json.loads(KEPT.read_text())] if KEPT.exists() else []


def main(arguments: Sequence[str] | None = None) -> None:
    """Take over new records and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=REPOSITORY / "runs" / "drill")
    folder: Path = parser.parse_args(arguments).folder
    records = {record.scenario: record for record in read_kept()}
    for path in sorted(folder.glob("*.json")):
        record = Record.of(json.loads(path.read_text()))
        records[record.scenario] = record
    ordered = [records[name] for name in sorted(records)]
    KEPT.write_text(json.dumps([asdict(record) for record in ordered], indent=1) + "\n")
    DOCUMENT.write_text(with_table(DOCUMENT.read_text("utf-8"), ordered))


def _conditions(records: Sequence[Record]) -> list[str]:
    machines = "; ".join(sorted({record.processor for record in records}))
    loads = [record.load for record in records]
    starts = [seconds for record in records for seconds in record.start_s]
    lines = [
        f"On {machines}, which others used too: {min(loads):g} to {max(loads):g} processes wanted a core",
        "at a time (mean of a scenario), and times are as long as that makes them.",
    ]
    if starts:
        lines.append(
            f"Of a recovery from a kill, {median(starts):.1f} s (median) were the new process's start."
        )
    return lines


def _remarks(records: Sequence[Record]) -> list[str]:
    seen = [f"- {record.scenario}: {record.seen}" for record in records if record.seen]
    exits = [f"- {record.scenario}: {_exits(record)}" for record in records if record.failed_exits]
    return ["", *seen, *exits] if seen or exits else []


def _cells(record: Record) -> Sequence[str]:
    outcome, times = record.outcome, record.recovery_s
    return (
        record.fault,
        f"{record.delivery}, {record.protocol}",
        f"{record.alerts} ({record.poisoned})",
        ", ".join(f"{number} x {fault}" for fault, number in record.faults.items()),
        str(outcome.lost),
        str(outcome.duplicated),
        f"{outcome.verdicts} + {outcome.dead_letters}",
        f"{median(times):.1f} ({max(times):.1f})" if times else "-",
        f"{record.peak_rss_mb:.0f}",
        record.size,
        f"{record.measured_on}, {record.commit}",
    )


def _exits(record: Record) -> str:
    ended = ", ".join(f"{number} with status {status}" for status, number in record.failed_exits.items())
    return f"processes that ended by themselves and were started again by their supervisor: {ended}"


if __name__ == "__main__":
    main()
