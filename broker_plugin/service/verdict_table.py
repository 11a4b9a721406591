# SPDX-License-Identifier: BSD-3-Clause
"""Verdicts as rows of a table for a terminal.

A row says what is unusual about its verdict: `withdrawn` in place of the class where it is a retraction. The
tense has a column, which is there only where one is not `current`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.engine.explanation import one_in

__all__ = ["ranking_table", "row_table"]

OBSERVED, OBJECT, CONTEXT, CLASS, ODDS, EPOCHS, TENSE, WHY = (
    "observed (UTC)", "object", "context", "class (p)", "odds", "epochs", "tense", "why"
)  # fmt: skip

COLUMNS = {OBSERVED: 16, OBJECT: 24, CONTEXT: 11, CLASS: 11, ODDS: 13, EPOCHS: 6, TENSE: 9}
"""Widths in characters; the explanation takes what is left."""

FROM = {EPOCHS: 75, CONTEXT: 90, WHY: 115}
"""Widths from which there is room for these, beside the tense where it is shown."""

WITHDRAWN = "withdrawn"


def ranking_table(rows: Iterable[tuple[Verdict, Sequence[str]]], *, width: int, title: str) -> Table:
    """Return the table of a ranking: of verdicts, each with the labels of its object."""
    held = list(rows)
    tense = any(verdict.tense is not Tense.CURRENT for verdict, _ in held)
    table = _table(held, width, header=True, tense=tense)
    table.title = title
    return table


def row_table(
    verdict: Verdict, *, width: int, header: bool, tense: bool, labels: Sequence[str] = ()
) -> Table:
    """Return one row of a table that goes on; with its header, and with the column of tenses, or without."""
    return _table([(verdict, labels)], width, header=header, tense=tense)


def _table(rows: Sequence[tuple[Verdict, Sequence[str]]], width: int, *, header: bool, tense: bool) -> Table:
    names = _shown(width, tense=tense)
    table = Table(box=None, show_header=header, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in names:
        if name == WHY:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, width=COLUMNS[name], no_wrap=True, overflow="ellipsis")
    for verdict, labels in rows:
        cells = _cells(verdict)
        table.add_row(*(_printable(cells[name], labels if name == OBJECT else ()) for name in names))
    return table


def _shown(width: int, *, tense: bool) -> list[str]:
    """Return the columns that a terminal has room for."""
    room = width - (COLUMNS[TENSE] + 1 if tense else 0)
    return [name for name in (*COLUMNS, WHY) if (tense if name == TENSE else room >= FROM.get(name, 0))]


def _cells(verdict: Verdict) -> dict[str, str]:
    named = f"{verdict.top_class} {verdict.top_class_probability or 0.0:.2f}" if verdict.top_class else "-"
    return {
        OBSERVED: verdict.observed_utc[:16].replace("T", " "),
        OBJECT: verdict.object_id,
        CONTEXT: verdict.source_context.replace("_", " "),
        CLASS: WITHDRAWN if verdict.is_retraction else named,
        ODDS: one_in(verdict.anomaly_p_value, verdict.calibration_n),
        EPOCHS: str(verdict.n_epochs),
        TENSE: str(verdict.tense),
        WHY: verdict.explanation,
    }


def _printable(cell: str, labels: Iterable[str] = ()) -> Text:
    """Return what a terminal shows of a cell, with each label on a line of its own beneath it."""
    lines = ("".join(c if c.isprintable() else "?" for c in line) for line in (cell, *labels))
    return Text("\n".join(lines))
