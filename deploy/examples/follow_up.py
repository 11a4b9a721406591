#!/usr/bin/env python
# SPDX-License-Identifier: BSD-3-Clause
"""Keeps a list of targets for tonight: strange stars, on the whole sky or among those that you watch.

    python follow_up.py --bootstrap localhost:9092 --topic verdicts --watch mine.csv --out targets.csv

Each object is written once, the first time that it is strange, however often this is stopped and started.
When the survey withdraws the alert that it was written for, it is taken off the list.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from broker_plugin.client import Verdict, read_watch_list, subscribe

COLUMNS = ("object", "ra_deg", "dec_deg", "class", "p_value", "observed_utc", "explanation")


def main() -> int:
    """Follow the topic until Ctrl-C, or until it has been quiet for `--timeout-s`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bootstrap", required=True, help="host:port of Kafka")
    parser.add_argument("--topic", default="verdicts")
    parser.add_argument("--group", default="follow-up", help="consumer group: goes on where it left off")
    parser.add_argument("--watch", type=Path, help="CSV or VOTable of objects or cones")
    parser.add_argument("--max-p-value", type=float, default=0.01, help="how strange a star must be")
    parser.add_argument("--tense", default="current", help="any, where the service runs for a try or replays")
    parser.add_argument("--out", type=Path, default=Path("targets.csv"))
    parser.add_argument("--timeout-s", type=float, help="end when nothing has come for so long")
    arguments = parser.parse_args()

    written = begin(arguments.out)
    n_added = n_taken_back = 0
    verdicts = subscribe(
        arguments.topic,
        bootstrap=arguments.bootstrap,
        group=arguments.group,
        from_beginning=True,
        watch=read_watch_list(arguments.watch) if arguments.watch else None,
        tense=arguments.tense,
        context="stellar",
        max_p_value=arguments.max_p_value,
        only="new",
        memory=arguments.out.with_suffix(".seen.db"),
        timeout_s=arguments.timeout_s,
    )
    # Around the block, not in it: what is in hand when the block is left by Ctrl-C comes again.
    try:
        with verdicts:
            for verdict in verdicts:
                # Written before the next one is asked for, so before the group's offset moves behind it.
                if verdict.is_retraction:
                    n_rows = take_back(arguments.out, verdict)
                    n_taken_back += n_rows
                    if n_rows:
                        written.discard(verdict.object_id)
                elif verdict.object_id not in written:
                    append(arguments.out, verdict)
                    written.add(verdict.object_id)
                    n_added += 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; start it again and it goes on here\n")
    sys.stderr.write(f"{verdicts.n_read} verdicts read, {n_added} targets more in {arguments.out}\n")
    if n_taken_back:
        sys.stderr.write(f"{n_taken_back} targets taken off, since their alerts were withdrawn\n")
    if verdicts.n_other_tense:
        sys.stderr.write(
            f"{verdicts.n_other_tense} of them are not {arguments.tense}; --tense any takes them\n"
        )
    return 0


def begin(path: Path) -> set[str]:
    """Return the objects on the list of targets; make one without any, where there is none yet."""
    if not path.exists():
        write(path, COLUMNS)
    with path.open(newline="") as file:
        return {row["object"] for row in csv.DictReader(file)}


def append(path: Path, verdict: Verdict) -> None:
    """Add an object to the list of targets."""
    place = f"{verdict.ra_deg:.6f}", f"{verdict.dec_deg:+.6f}"
    said = verdict.top_class, f"{verdict.anomaly_p_value:.3g}", verdict.observed_utc, verdict.explanation
    write(path, (verdict.object_id, *place, *said))


def take_back(path: Path, retraction: Verdict) -> int:
    """Take the target of a withdrawn alert off the list; return how many rows that were."""
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    columns = [header.index(name) for name in ("object", "observed_utc")]
    withdrawn = [retraction.object_id, retraction.observed_utc]
    kept = [row for row in rows if [row[column] for column in columns] != withdrawn]
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    for row in (header, *kept):
        write(beside, row)
    beside.replace(path)  # whoever reads the list sees the one or the other
    return len(rows) - len(kept)


def write(path: Path, row: Sequence[object]) -> None:
    """Add a row to a CSV file."""
    with path.open("a", newline="") as file:
        csv.writer(file).writerow(row)


if __name__ == "__main__":
    sys.exit(main())
