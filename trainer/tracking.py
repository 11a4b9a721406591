# SPDX-License-Identifier: BSD-3-Clause
"""What is shown of a training while it runs: scalars for TensorBoard, and a bar with the losses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from trainer.options import console

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["TENSORBOARD", "Tracker", "Watch", "tracked"]

TENSORBOARD = "tensorboard"
"""Folder of a run's event files, one in it for each kind of training."""

STEP, PASS = ("steps", "passes"), ("pass", "steps", "alerts", "scale", "seconds")
"""What records of steps and of passes hold beside losses and measures."""

SMOOTHING = 0.95
"""Weight of the past in a loss that the bar shows: the mean of some twenty steps, and still moving."""


class Watch(Protocol):
    """Takes the records of steps and passes as they come."""

    def step(self, record: Mapping[str, Any]) -> None:
        """Take the losses and the learning rate of a step."""
        ...

    def passed(self, record: Mapping[str, Any]) -> None:
        """Take the means, the measures and the rate of a pass."""
        ...


class Silent:
    """A watch that does nothing: another process speaks."""

    def step(self, record: Mapping[str, Any]) -> None:
        """Do nothing."""

    def passed(self, record: Mapping[str, Any]) -> None:
        """Do nothing."""


class Tracker:
    """A watch that writes scalars and moves a bar."""

    def __init__(self, folder: Path, bar: Progress, task: TaskID) -> None:
        self._folder, self._bar, self._task = folder, bar, task
        self._writer: SummaryWriter | None = None
        self._shown: dict[str, float] = {}

    def step(self, record: Mapping[str, Any]) -> None:
        """Note the losses and the learning rate of a step."""
        values = {name: value for name, value in record.items() if name not in STEP}
        rate = values.pop("learning_rate")
        self._add({"learning_rate": rate, **_under("loss", values)}, record["steps"])
        for name, value in values.items():
            before = self._shown.get(name, value)
            self._shown[name] = SMOOTHING * before + (1 - SMOOTHING) * value
        losses = "  ".join(f"{name} {value:.3f}" for name, value in self._shown.items())
        self._bar.update(self._task, completed=record["passes"], losses=losses)

    def passed(self, record: Mapping[str, Any]) -> None:
        """Note the means, the measures and the rate of a pass, and print them."""
        values = {name: value for name, value in record.items() if name not in PASS}
        rate = record["alerts"] / max(record["seconds"], 1e-3)
        measures = {**_under("pass", values), "alerts_per_second": rate, "scale": record["scale"]}
        self._add(measures, record["steps"])
        self._bar.update(self._task, completed=record["pass"])
        self._bar.console.print(
            "  ".join(f"{name} {value}" for name, value in record.items()), highlight=False
        )

    def close(self) -> None:
        """Write what is pending."""
        if self._writer is not None:
            self._writer.close()

    def _add(self, values: Mapping[str, float], step: int) -> None:
        if self._writer is None:
            # Imported here, since it takes a second that no other command should wait.
            from torch.utils.tensorboard import SummaryWriter

            # What a killed run wrote after its last checkpoint is to be forgotten.
            self._writer = SummaryWriter(self._folder, purge_step=step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)


@contextmanager
def tracked(folder: Path, kind: str, *, passes: int, shown: bool) -> Iterator[Watch]:
    """Show a bar while the block trains, and write event files to `folder` / tensorboard / `kind`.

    Parameters
    ----------
    shown
        Whether this process is the one that writes and speaks.
    """
    if not shown:
        yield Silent()
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(
        *columns,
        TextColumn("pass {task.completed:.1f} of {task.total}  {task.fields[losses]}"),
        console=console,
    ) as bar:
        tracker = Tracker(folder / TENSORBOARD / kind, bar, bar.add_task(kind, total=passes, losses=""))
        try:
            yield tracker
        finally:
            tracker.close()


def _under(group: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{group}/{name}": value for name, value in values.items()}
