# SPDX-License-Identifier: BSD-3-Clause
"""Verdicts as rows of a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from broker_plugin.codec.verdict import Verdict
from broker_plugin.engine.explanation import one_in

__all__ = ["ranking_table", "row_table"]

COLUMNS = {"observed (UTC)": 16, "object": 24, "context": 11, "class (p)": 11, "odds": 13, "epochs": 6}
"""Widths in characters; the explanation takes what is left."""

WITH_CONTEXT, WITH_EXPLANATION = 90, 115
"""Widths of a terminal from which there is room for these."""


def ranking_table(rows: Iterable[tuple[Verdict, Sequence[str]]], *, width: int, title: str) -> Table:
    """Return the table of a ranking: of verdicts, each with the labels of its object."""
    table = _table(width, header=True)
    table.title = title
    for verdict, labels in rows:
        table.add_row(*_cells(verdict, labels, width))
    return table


def row_table(verdict: Verdict, *, width: int, header: bool, labels: Sequence[str] = ()) -> Table:
    """Return one row of a table that goes on; with its header for the first row."""
    table = _table(width, header=header)
    table.add_row(*_cells(verdict, labels, width))
    return table


def _table(width: int, *, header: bool) -> Table:
    table = Table(box=None, show_header=header, pad_edge=False, header_style="bold")
    for name, columns in COLUMNS.items():
        if name != "context" or width >= WITH_CONTEXT:
            table.add_column(name, width=columns, no_wrap=True, overflow="ellipsis")
    if width >= WITH_EXPLANATION:
        table.add_column("why", overflow="fold")
    return table


def _cells(verdict: Verdict, labels: Sequence[str], width: int) -> list[Text]:
    named = f"{verdict.top_class} {verdict.top_class_probability or 0.0:.2f}" if verdict.top_class else "-"
    cells = [
        verdict.observed_utc[:16].replace("T", " "),
        verdict.object_id,
        *([verdict.source_context.replace("_", " ")] if width >= WITH_CONTEXT else []),
        named,
        one_in(verdict.anomaly_p_value, verdict.calibration_n),
        str(verdict.n_epochs),
        *([verdict.explanation] if width >= WITH_EXPLANATION else []),
    ]
    texts = [_printable(cell) for cell in cells]
    for label in labels:
        texts[1].append("\n").append_text(_printable(label))
    return texts


def _printable(cell: str) -> Text:
    return Text("".join(c if c.isprintable() else "?" for c in cell))
