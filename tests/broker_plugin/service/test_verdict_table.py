# SPDX-License-Identifier: BSD-3-Clause
"""A row fits its terminal and says what is unusual about its verdict, and only that."""

from __future__ import annotations

import pytest
from rich.console import Console

from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.service.verdict_table import ranking_table, row_table
from tests.broker_plugin.client.verdicts import a_verdict, retraction_of

USUAL = a_verdict(
    1, tense=Tense.CURRENT, object_id="lsst:170032915988086804", top_class="RRAB", top_class_probability=0.87
)

WIDTHS = (80, 90, 100, 115, 125, 160)


def row(verdict: Verdict, width: int, *, tense: bool) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(row_table(verdict, width=width, header=True, tense=tense))
    return captured.get()


@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_usual_is_not_said(width: int) -> None:
    shown = row(USUAL, width, tense=False)
    assert "RRAB 0.87" in shown
    assert not any(word in shown for word in ("current", "initial", "tense", "withdrawn"))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("tense", list(Tense))
def test_a_retraction_and_the_tense_are_marked(width: int, tense: Tense) -> None:
    shown = row(retraction_of(USUAL)._replace(tense=tense), width, tense=True)
    assert "withdrawn" in shown
    assert "RRAB" not in shown.splitlines()[1]
    assert str(tense) in shown
    assert USUAL.object_id in shown
    assert "…" not in shown


@pytest.mark.parametrize("width", [80, 160])
def test_a_ranking_says_the_tense_of_all_where_one_is_unusual(width: int) -> None:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(
            ranking_table([(USUAL, ()), (USUAL._replace(tense=Tense.ARCHIVAL), ())], width=width, title="all")
        )
    *_, first, second = (line for line in captured.get().splitlines() if USUAL.object_id in line)
    assert "current" in first
    assert "archival" in second
