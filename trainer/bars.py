# SPDX-License-Identifier: BSD-3-Clause
"""Two bars for many trainings: those that are done, and the passes of the one that runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trainer.options import console

__all__ = ["NestedBars", "nested_bars"]


class NestedBars:
    """The two bars while they are shown."""

    def __init__(self, progress: Progress, outer: str, total: int) -> None:
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
            self._progress.console.print(line, highlight=False)


@contextmanager
def nested_bars(outer: str, total: int) -> Iterator[NestedBars]:
    """Show the bars while the block runs; `outer` names what there are `total` of."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        yield NestedBars(progress, outer, total)
