# SPDX-License-Identifier: BSD-3-Clause
"""How `subscribe` shows verdicts: line by line or as a ranking, for people or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import Literal, Protocol, Self

from rich.console import Console, RenderableType
from rich.live import Live

from broker_plugin.client.watch import labels
from broker_plugin.codec.verdict import Tense, Verdict, to_json
from broker_plugin.pipeline.selection import Ranking
from broker_plugin.service.verdict_table import ranking_table, row_table

__all__ = ["Listing", "make_listing"]


class Listing(Protocol):
    """Takes verdicts in and shows them; a context, since a terminal must be left in order."""

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to show."""
        ...

    def add(self, verdict: Verdict, now: datetime, *, watched: Sequence[str] = ()) -> None:
        """Take a verdict in, with what it matches of a watch list."""
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
    ranking = _NamedRanking(Ranking(strangest, from_start=from_start))
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

    def add(self, verdict: Verdict, now: datetime, *, watched: Sequence[str] = ()) -> None:
        _write_json(verdict, watched)
        self.is_empty = False


class _Rows(_Plain):
    """A table that grows, with a new header where its columns change: they stay once there is a tense."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = 0
        self._tense = False

    @property
    def is_empty(self) -> bool:
        return self._width == 0

    def add(self, verdict: Verdict, now: datetime, *, watched: Sequence[str] = ()) -> None:
        width, tense = self._console.width, self._tense or verdict.tense is not Tense.CURRENT
        header = (width, tense) != (self._width, self._tense)
        shown = labels(verdict.object_id, watched)
        _write(self._console, row_table(verdict, width=width, header=header, tense=tense, labels=shown))
        self._width, self._tense = width, tense


class _NamedRanking:
    """A ranking that knows what its objects match of a watch list, those too that may move up into it."""

    def __init__(self, ranking: Ranking) -> None:
        self._ranking = ranking
        self._watched: dict[str, Sequence[str]] = {}

    def add(self, verdict: Verdict, now: datetime, *, watched: Sequence[str]) -> bool:
        """Take a verdict in; return whether the ranking changed."""
        changed = self._ranking.add(verdict, now)
        if watched:
            self._watched[verdict.object_id] = watched
        if changed:
            held = {each.object_id for each in self._ranking.held}
            self._watched = {name: each for name, each in self._watched.items() if name in held}
        return changed

    @property
    def rows(self) -> list[tuple[Verdict, Sequence[str]]]:
        """The strangest first, each with what it matches."""
        return [(each, self._watched.get(each.object_id, ())) for each in self._ranking.verdicts]


class _JsonRanking(_Plain):
    def __init__(self, ranking: _NamedRanking) -> None:
        self._ranking = ranking

    @property
    def is_empty(self) -> bool:
        return not self._ranking.rows

    def add(self, verdict: Verdict, now: datetime, *, watched: Sequence[str] = ()) -> None:
        self._ranking.add(verdict, now, watched=watched)

    def finish(self, *, failed: bool) -> None:
        for row in () if failed else self._ranking.rows:
            _write_json(*row)


class _RankingTable:
    def __init__(self, ranking: _NamedRanking, console: Console, title: str) -> None:
        self._ranking = ranking
        self._console = console
        self._title = title
        self._changed = False
        self._live: Live | None = None
        self._stack = ExitStack()

    @property
    def is_empty(self) -> bool:
        return not self._ranking.rows

    def add(self, verdict: Verdict, now: datetime, *, watched: Sequence[str] = ()) -> None:
        self._changed |= self._ranking.add(verdict, now, watched=watched)

    def show(self) -> None:
        if not self._changed:
            return
        self._changed = False
        rows = [(each, labels(each.object_id, watched)) for each, watched in self._ranking.rows]
        table = ranking_table(rows, width=self._console.width, title=self._title)
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


def _write_json(verdict: Verdict, watched: Sequence[str]) -> None:
    line = to_json(verdict)
    if watched:
        named = json.loads(line) | {"watched": list(watched)}
        line = json.dumps(named, ensure_ascii=False, separators=(",", ":"))
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()  # who reads a pipe wants the line now


def _write(console: Console, renderable: RenderableType) -> None:
    # Rendered first and written by us: the library would end the process when a pipe is closed.
    with console.capture() as captured:
        console.print(renderable)
    sys.stdout.write(captured.get())
    sys.stdout.flush()
