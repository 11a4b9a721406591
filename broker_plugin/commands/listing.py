# SPDX-License-Identifier: BSD-3-Clause
"""How `subscribe` shows verdicts: line by line or as a ranking, for people or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import Literal, Protocol, Self

from rich.console import Console, RenderableType
from rich.live import Live

from broker_plugin.codec.verdict import Verdict, to_json
from broker_plugin.pipeline.selection import Ranking
from broker_plugin.service.verdict_table import ranking_table, row_table

__all__ = ["Listing", "make_listing"]


class Listing(Protocol):
    """Takes verdicts in and shows them; a context, since a terminal must be left in order."""

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to show."""
        ...

    def add(self, verdict: Verdict, now: datetime) -> None:
        """Take a verdict in."""
        ...

    def show(self) -> None:
        """Show what has come since the last time."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_listing(
    output_format: Literal["table", "json"],
    strangest: int | None,
    console: Console,
    *,
    from_start: bool = False,
) -> Listing:
    """Return the listing that was asked for.

    Parameters
    ----------
    output_format
        For people or for programs.
    strangest
        Size of the ranking, None for every verdict as it comes.
    console
        The terminal, or what stands for it.
    from_start
        As of `Ranking`.
    """
    if strangest is None:
        return _JsonLines() if output_format == "json" else _Rows(console)
    ranking = Ranking(strangest, from_start=from_start)
    if output_format == "json":
        return _JsonRanking(ranking)
    return _RankingTable(ranking, console, "the strangest" if from_start else "the strangest since noon")


class _Plain:
    """A listing that needs nothing done at its ends."""

    def show(self) -> None:
        """Everything has been shown."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(failed=error is not None)

    def finish(self, *, failed: bool) -> None:
        """Show what is shown at the end."""


class _JsonLines(_Plain):
    is_empty = True

    def add(self, verdict: Verdict, now: datetime) -> None:
        _write_json([verdict])
        self.is_empty = False


class _Rows(_Plain):
    def __init__(self, console: Console) -> None:
        self._console = console
        self.is_empty = True

    def add(self, verdict: Verdict, now: datetime) -> None:
        _write(self._console, row_table(verdict, width=self._console.width, header=self.is_empty))
        self.is_empty = False


class _JsonRanking(_Plain):
    def __init__(self, ranking: Ranking) -> None:
        self._ranking = ranking

    @property
    def is_empty(self) -> bool:
        return not self._ranking.verdicts

    def add(self, verdict: Verdict, now: datetime) -> None:
        self._ranking.add(verdict, now)

    def finish(self, *, failed: bool) -> None:
        if not failed:
            _write_json(self._ranking.verdicts)


class _RankingTable:
    def __init__(self, ranking: Ranking, console: Console, title: str) -> None:
        self._ranking = ranking
        self._console = console
        self._title = title
        self._changed = False
        self._live: Live | None = None
        self._stack = ExitStack()

    @property
    def is_empty(self) -> bool:
        return not self._ranking.verdicts

    def add(self, verdict: Verdict, now: datetime) -> None:
        self._changed |= self._ranking.add(verdict, now)

    def show(self) -> None:
        if not self._changed:
            return
        self._changed = False
        table = ranking_table(self._ranking.verdicts, width=self._console.width, title=self._title)
        if self._live is not None:
            self._live.update(table, refresh=True)
        else:
            _write(self._console, table)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = self._stack.enter_context(Live(console=self._console, auto_refresh=False))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.show()
        self._stack.close()


def _write_json(verdicts: Iterable[Verdict]) -> None:
    for verdict in verdicts:
        sys.stdout.write(f"{to_json(verdict)}\n")
        sys.stdout.flush()  # who reads a pipe wants the line now


def _write(console: Console, renderable: RenderableType) -> None:
    # Rendered first and written by us: the library would end the process when a pipe is closed.
    with console.capture() as captured:
        console.print(renderable)
    sys.stdout.write(captured.get())
    sys.stdout.flush()
