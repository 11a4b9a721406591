# SPDX-License-Identifier: BSD-3-Clause
"""The table in the documents is what the records say, and those are of scenarios that kept their promise."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date

from tests.drill.record import Outcome, Record, commit
from tests.drill.table import DOCUMENT, read_kept, table, with_table

RECORD = Record(
    scenario="a",
    fault="broker killed",
    delivery="exactly-once",
    protocol="classic",
    size="full",
    seed=1,
    alerts=10,
    poisoned=2,
    faults={"broker killed": 3},
    outcome=Outcome(verdicts=8, dead_letters=2, lost=0, duplicated=0, astray=0),
    recovery_s=[1.0, 2.0, 9.0],
    start_s=[0.5],
    load=2.0,
    peak_rss_mb=100.0,
    seconds=60.0,
    processor="a processor",
    measured_on="2026-11-29",
    commit="4900195+",
)


def test_the_document_holds_the_table_of_the_kept_records() -> None:
    document = DOCUMENT.read_text("utf-8")
    assert document == with_table(document, read_kept())


def test_every_kept_scenario_lost_nothing_and_repeated_only_what_may_be() -> None:
    for record in read_kept():
        assert record.outcome.lost == record.outcome.astray == 0, record.scenario
        assert record.delivery == "at-least-once" or record.outcome.duplicated == 0, record.scenario
        found = record.outcome.verdicts + record.outcome.dead_letters
        assert found == record.alerts, record.scenario


def test_of_each_row_the_measured_code_is_known() -> None:
    for record in read_kept():
        assert re.fullmatch(r"[0-9a-f]{7,}\+?", record.commit), record.scenario
        assert date.fromisoformat(record.measured_on)
    assert re.fullmatch(r"[0-9a-f]{7,}\+?", commit())
    assert "| 2026-11-29, 4900195+ |" in table([RECORD])


def test_a_loss_is_shown() -> None:
    bad = replace(RECORD, outcome=replace(RECORD.outcome, lost=7), exits={"75": 2})
    shown = table([bad])
    assert "| broker killed | exactly-once, classic | 10 (2) | 3 x broker killed | 7 | 0 | 8 + 2 |" in shown
    assert "2.0 (9.0)" in shown
    assert "2 with status 75" in shown
