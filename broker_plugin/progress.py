# SPDX-License-Identifier: BSD-3-Clause
"""Bars of progress that a log can hold too: a line now and then where there is no terminal to draw on."""

from __future__ import annotations

from typing import Any

from rich.progress import Progress, TaskID

__all__ = ["LINE_EVERY_S", "LoggedProgress"]

LINE_EVERY_S = 60.0
"""Seconds between two lines in a log: a night's work leaves some hundreds."""


class LoggedProgress(Progress):
    """As `rich.progress.Progress`, which prints nothing before the end where its output is no terminal.

    Examples
    --------
    >>> import io, itertools
    >>> from rich.console import Console
    >>> log = io.StringIO()
    >>> minutes = itertools.count(0.0, 60.0)
    >>> with LoggedProgress("{task.description}: {task.completed}", console=Console(file=log),
    ...                     get_time=lambda: next(minutes)) as progress:
    ...     progress.advance(progress.add_task("stars", total=9))
    >>> log.getvalue().splitlines()[0]
    'stars: 1'
    """

    def __init__(self, *columns: Any, **options: Any) -> None:
        super().__init__(*columns, **options)
        self._said_s = self.get_time()

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Advance a task, as rich does."""
        super().advance(task_id, advance)
        self._say_in_log()

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Change a task, as rich does."""
        super().update(task_id, **changes)
        self._say_in_log()

    def _say_in_log(self) -> None:
        now_s = self.get_time()
        if self.disable or self.console.is_terminal or now_s - self._said_s < LINE_EVERY_S:
            return
        self._said_s = now_s
        self.console.print(self.make_tasks_table(self.tasks))
