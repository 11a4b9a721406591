# SPDX-License-Identifier: BSD-3-Clause
"""Bars that show how far a command is: one for a task, two for many trainings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from broker_plugin.progress import LoggedProgress
from trainer.options import console

__all__ = ["NestedBars", "nested_bars", "progress_bar", "scoring_bar"]


class NestedBars:
    """A bar of the trainings that are done, and one of the passes of that which runs."""

    def __init__(self, progress: LoggedProgress, outer: str, total: int) -> None:
        self._progress = progress
        self._outer = progress.add_task(outer, total=total)
        self._inner = progress.add_task("", total=None)

    def begin(self, name: str, steps: int) -> None:
        """Name what begins, and how many steps it has at most."""
        self._progress.reset(self._inner, total=steps, description=name)

    def moved(self, completed: int) -> None:
        """Show how many of its steps are done."""
        self._progress.update(self._inner, completed=completed)

    def done(self, line: str = "") -> None:
        """Count it as done and print what it gave."""
        self._progress.advance(self._outer)
        if line:
            self._progress.console.print(line, highlight=False, markup=False)


@contextmanager
def nested_bars(outer: str, total: int) -> Iterator[NestedBars]:
    """Show the bars while the block runs; `outer` names what there are `total` of."""
    with LoggedProgress(*_columns(), console=console) as progress:
        yield NestedBars(progress, outer, total)


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs; it yields the function that advances it."""
    with LoggedProgress(*_columns(), console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total)
        yield lambda n: progress.advance(task, n)


@contextmanager
def scoring_bar() -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Show a bar while the block runs; it yields a function that is told the total, and one that advances."""
    with LoggedProgress(*_columns(), console=Console(stderr=True)) as progress:
        task = progress.add_task("stars in settings", total=None)
        yield (
            lambda total: progress.update(task, total=total),
            lambda n: progress.advance(task, n),
        )


def _columns() -> tuple[ProgressColumn, ...]:
    return (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
