# SPDX-License-Identifier: BSD-3-Clause
"""`python -m tests.fuzz`: judge mutants by the thousand. Exit status 1 if one broke the law."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.fuzz.campaign import PEAK_MAX_MB, Campaign, Report, run_campaign
from tests.support.artefacts import REPOSITORY

DATA = Path(os.environ.get("ASTROM3_DATA") or REPOSITORY.parent / "shared" / "data")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--mutants", type=int, default=100_000, help="how many [default: 100000]")
    parser.add_argument("--first", type=int, default=0, help="number of the first [default: 0]")
    parser.add_argument("--workers", type=int, default=2, help="processes [default: 2]")
    parser.add_argument("--decoder", default="", help="package.module:function that makes another decoder")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the real data")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/fuzz"),
        help="folder of the record; what is in it is not redone",
    )
    given = parser.parse_args()
    campaign = Campaign(
        alerts=given.data / "alerts",
        folder=given.out,
        mutants=given.mutants,
        first=given.first,
        workers=given.workers,
        decoder=given.decoder,
    )
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task("mutants", total=given.mutants)

        def show(report: Report) -> None:
            note = f"peak {report.peak_mb} MB, {len(report.findings)} findings"
            bar.update(task, completed=report.judged, description=note)

        report = run_campaign(campaign, progress=show)
    print(summary(report))  # noqa: T201
    return 0 if report.sound else 1


def summary(report: Report) -> str:
    """Return what a person wants to know of a campaign."""
    outcomes = ", ".join(f"{name} {count}" for name, count in report.outcomes.most_common())
    lines = [
        f"{report.judged} mutants of {len(report.kinds)} kinds in {report.seconds:.0f} s of work: {outcomes}",
        f"peak memory of a worker: {report.peak_mb} MB (bound {PEAK_MAX_MB})",
        f"{len(report.findings)} broke the law",
    ]
    return "\n".join([*lines, *(json.dumps(finding) for finding in report.findings[:50])])


if __name__ == "__main__":
    sys.exit(main())
