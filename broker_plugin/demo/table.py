# SPDX-License-Identifier: BSD-3-Clause
"""The live table of a night: the strangest objects so far, the latest verdicts, and the books kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from broker_plugin.codec.verdict import Verdict
from broker_plugin.demo.cards import context_name
from broker_plugin.demo.findings import ScoredObject, rank_objects
from broker_plugin.demo.night import Progress
from broker_plugin.engine.explanation import counted, one_in
from broker_plugin.records import SourceContext

__all__ = ["NightTable", "books"]

WIDE = 160
"""Columns from which each verdict has one line; below, a second line holds what does not fit."""

REFRESH_S = 0.25
PLAIN_EVERY_S = 2.0
"""Time between two lines of progress where standard output is no terminal."""

LATEST = 3
"""Verdicts of the latest batch that are shown beside the strangest."""

FINAL_ROWS = 20
OVERHEAD_LINES = 7
"""Lines of titles, headers, rules and footer around the rows."""

STRANGE_P_VALUE = 0.01
"""From here on the odds are coloured: a few of the night's ordinary alerts get that far."""

WIDE_COLUMNS = {
    "object": 28,
    "survey": 6,
    "context": 14,
    "top class (p)": 13,
    "odds": 24,
    "epochs a band": 23,
    "modalities": 10,
}
NARROW_NAMES = ("object", "context", "class (p)", "odds")
NARROW_WIDTHS = (29, 15, 12)

SHORT_NAMES = {"photometry": "phot", "metadata": "meta", "spectrum": "spec", "light_curve": "curve"}


class NightTable:
    """Shows the night as it goes: a live table in a terminal, lines of progress elsewhere.

    Parameters
    ----------
    console
        Where to show it.
    title
        What is being played.
    """

    def __init__(self, console: Console, *, title: str) -> None:
        self._console = console
        self._title = title
        self._live: Live | None = None
        self._due = 0.0
        self._progress = Progress()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def watch(self, progress: Progress) -> None:
        """Show how far it is, not more often than can be read."""
        self._progress = progress
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + (REFRESH_S if self._live is not None else PLAIN_EVERY_S)
        if self._live is None:
            self._console.print(books(progress), highlight=False)
        else:
            self._live.update(self.render(progress), refresh=True)

    def finish(self) -> None:
        """Leave the strangest objects and the books on the screen."""
        progress = self._progress
        rows = _rank_stellar(progress.verdicts)[:FINAL_ROWS]
        self._console.print(self._strangest(rows, len(progress.verdicts)))
        self._console.print(books(progress), highlight=False)

    def render(self, progress: Progress) -> Group:
        """Return the whole screen."""
        lines = 1 if self._console.width >= WIDE else 2
        room = max(2, (self._console.height - OVERHEAD_LINES) // lines - LATEST)
        newest_first = progress.verdicts[: -LATEST - 1 : -1]
        return Group(
            self._strangest(_rank_stellar(progress.verdicts)[:room], len(progress.verdicts)),
            Text(),
            self._verdicts("The latest verdicts", newest_first, headers=False),
            Text(),
            books(progress),
        )

    def _strangest(self, ranked: Sequence[ScoredObject], n_verdicts: int) -> RenderableType:
        title = f"{self._title}: the strangest stellar objects of {n_verdicts:,} verdicts"
        return self._verdicts(title, [scored.verdict for scored in ranked])

    def _verdicts(self, title: str, verdicts: Sequence[Verdict], *, headers: bool = True) -> RenderableType:
        if self._console.width >= WIDE:
            return _wide_table(title, verdicts, headers=headers)
        lines = [_fixed(title, style="bold")]
        if headers:
            lines.append(_narrow_line(*NARROW_NAMES, style="dim"))
        for verdict in verdicts:
            lines += _narrow_lines(verdict)
        return Group(*lines)


def books(progress: Progress) -> Text:
    """Return the footer: the rate, the lag, and what went in against what came out."""
    said = (
        f"{progress.rate_per_s:,.0f} messages/s, lag {progress.lag:,}: "
        f"{progress.played:,} played = {counted(len(progress.verdicts), 'verdict')} + "
        f"{counted(len(progress.dead_letters), 'dead letter')} + {progress.in_flight:,} in flight"
    )
    return Text(said, style="bold")


def _rank_stellar(verdicts: Sequence[Verdict]) -> list[ScoredObject]:
    """Rank the stellar objects alone: p-values of other kinds of source are of other strata."""
    return rank_objects([verdict for verdict in verdicts if verdict.source_context == SourceContext.STELLAR])


def _wide_table(title: str, verdicts: Sequence[Verdict], *, headers: bool) -> Table:
    table = Table(
        title=Text(title, style="bold"),
        title_justify="left",
        box=None,
        pad_edge=False,
        expand=True,
        show_header=headers,
        header_style="dim",
    )
    for name, width in WIDE_COLUMNS.items():
        table.add_column(name, no_wrap=True, width=width)
    table.add_column("why", no_wrap=True, overflow="ellipsis", ratio=1)
    for verdict in verdicts:
        table.add_row(
            Text(verdict.object_id),
            Text(verdict.survey.upper()),
            Text(context_name(verdict.source_context)),
            Text(_top(verdict)),
            _odds(verdict),
            Text(_epochs(verdict)),
            Text(_modalities(verdict)),
            Text(_why(verdict), style="dim"),
        )
    return table


def _narrow_lines(verdict: Verdict) -> tuple[Text, Text]:
    first = _narrow_line(verdict.object_id, context_name(verdict.source_context), _top(verdict))
    first.append_text(_odds(verdict))
    details = f"  {_epochs(verdict)} · {_modalities(verdict)} · {_why(verdict)}"
    return _fixed(first), _fixed(details, style="dim")


def _narrow_line(*cells: str, style: str = "") -> Text:
    return _fixed(
        "".join(f"{cell:<{width}}" for cell, width in zip(cells, (*NARROW_WIDTHS, 0), strict=False)),
        style=style,
    )


def _fixed(content: str | Text, *, style: str = "") -> Text:
    """Return one line that is cut, not wrapped, where the terminal ends."""
    text = content if isinstance(content, Text) else Text(content, style=style)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _top(verdict: Verdict) -> str:
    if verdict.top_class is None or verdict.top_class_probability is None:
        return "-"
    return f"{verdict.top_class} ({verdict.top_class_probability:.2f})"


def _odds(verdict: Verdict) -> Text:
    odds = one_in(verdict.anomaly_p_value, verdict.calibration_n)
    style = "bold red" if verdict.anomaly_p_value <= STRANGE_P_VALUE else ""
    return Text(f"{odds} (n={verdict.calibration_n:,})", style=style)


def _epochs(verdict: Verdict) -> str:
    counts = (f"{band.rpartition('_')[2]}{count}" for band, count in verdict.n_epochs_by_band.items())
    return " ".join(counts) or "no epochs"


def _modalities(verdict: Verdict) -> str:
    return "+".join(SHORT_NAMES.get(name, name) for name in verdict.modalities) or "none"


def _why(verdict: Verdict) -> str:
    """Return the explanation without the epochs and the odds, which have places of their own."""
    basis, *reasons = verdict.explanation.split("; ")
    odds = one_in(verdict.anomaly_p_value, verdict.calibration_n)
    if reasons and reasons[0].startswith(odds):
        reasons[0] = reasons[0].partition(", ")[2]
    return "; ".join(reason for reason in reasons if reason) or basis
