# SPDX-License-Identifier: BSD-3-Clause
"""`trainer reproduce`: the paper's table, or a published checkpoint, on the paper's data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trainer.astrom3.data import REPOSITORY, resolve_data
from trainer.astrom3.model import Modality
from trainer.astrom3.preprocess import Padding
from trainer.astrom3.recipes import MODALITIES, SEEDS, SUBSETS, Subset
from trainer.astrom3.reproduce import Cell, Plan, run
from trainer.astrom3.scoring import score_published
from trainer.astrom3.table import Result, rich_table
from trainer.astrom3.training import Running

__all__ = ["reproduce"]

ARMS: Mapping[str, tuple[bool, ...]] = {"both": (False, True), "with": (True,), "without": (False,)}

Many = Parameter(consume_multiple=True, negative="")

_console = Console()


def reproduce(
    *,
    data: Annotated[
        str, Parameter(help="Folder of AstroM3Processed, or its name on the Hugging Face hub.")
    ] = REPOSITORY,
    out: Annotated[Path, Parameter(help="Folder of results and contrastive models.")] = Path(
        "runs/reproduce"
    ),
    modality: Annotated[list[Modality] | None, Many] = None,
    subset: Annotated[list[Subset] | None, Many] = None,
    seeds: Annotated[list[int] | None, Many] = None,
    clip: Annotated[
        Literal["both", "with", "without"], Parameter(help="Arms: with or without contrastive pre-training.")
    ] = "both",
    epochs_max: Annotated[int | None, Parameter(help="For a trial: at most so many epochs a run.")] = None,
    batch_size: Annotated[int | None, Parameter(help="For a trial: objects in a batch, not 512.")] = None,
    layers: Annotated[int | None, Parameter(help="For a trial: layers of the Informer, not 8.")] = None,
    padding: Annotated[Padding, Parameter(help="What padded rows of light curves hold.")] = "gen-2",
    device: Annotated[str | None, Parameter(help="cpu or cuda; default: cuda where there is one.")] = None,
    threads: Annotated[int | None, Parameter(help="Threads of a CPU; default: all cores.")] = None,
    keep_weights: Annotated[bool, Parameter(help="Keep the weights of every cell.")] = False,
    published: Annotated[
        str | None,
        Parameter(help="Train nothing: score this checkpoint (folder or name on the hub) on full_42."),
    ] = None,
) -> None:
    """Run the paper's table (modality x share of labels x contrastive pre-training x seed) and print both.

    All of it are 160 classifiers and five contrastive models. It can be stopped at any time and goes on where
    it was; OUT/table.json and OUT/cells hold what is finished.
    """
    if threads:
        torch.set_num_threads(threads)
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if published:
        folder = resolve_data(data, ("full_42",))
        for convention, metrics in score_published(published, folder, "full_42", device=chosen).items():
            shown = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            _console.print(f"{published} on full_42, padding {convention}: {shown}", highlight=False)
        return
    plan = Plan(
        data=Path(data),
        out=out,
        modalities=tuple(modality or MODALITIES),
        subsets=tuple(subset or SUBSETS),
        arms=ARMS[clip],
        seeds=tuple(seeds or SEEDS),
        running=Running(
            epochs_max=epochs_max, batch_size=batch_size, layers=layers, padding=padding, device=chosen
        ),
        keep_weights=keep_weights,
    )
    if not plan.data.is_dir():
        plan = replace(plan, data=resolve_data(data, plan.configs()))
    with _bars(len(list(plan.cells()))) as bars:
        summary = run(plan, on_cell=bars.begin, on_epoch=bars.epoch, on_result=bars.finish)
    _console.print(rich_table(summary))
    for caveat in summary["caveats"]:
        _console.print(f"- {caveat}", highlight=False)
    _console.print(f"wrote {out / 'table.json'}", highlight=False, soft_wrap=True)


class _Bars:
    """Two bars: cells of the table, and epochs of the one that runs."""

    def __init__(self, progress: Progress, cells: int) -> None:
        self.progress = progress
        self.cells = progress.add_task("cells", total=cells)
        self.epochs = progress.add_task("epochs", total=None)

    def begin(self, cell: Cell | None, seed: int, epochs: int) -> None:
        """Name what begins."""
        name = cell.name if cell else f"contrastive model of seed {seed}"
        self.progress.reset(self.epochs, total=epochs, description=name)

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Show an epoch."""
        self.progress.update(self.epochs, completed=record["epoch"] + 1)

    def finish(self, result: Result) -> None:
        """Show a cell's number."""
        self.progress.advance(self.cells)
        name = Cell(**{key: result[key] for key in ("modality", "subset", "clip", "seed")}).name
        self.progress.console.print(f"{name}: test accuracy {100 * result['test']['accuracy']:.2f} %")


@contextmanager
def _bars(cells: int) -> Iterator[_Bars]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Bars(progress, cells)
