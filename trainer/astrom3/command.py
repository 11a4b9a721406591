# SPDX-License-Identifier: BSD-3-Clause
"""`trainer reproduce`: the paper's table, or a published checkpoint, on the paper's data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import torch
from cyclopts import Parameter
from rich.console import Console

from broker_plugin.streams.output_files import prepare_folder
from trainer.astrom3.data import REPOSITORY, resolve_data
from trainer.astrom3.model import Modality
from trainer.astrom3.preprocess import Padding
from trainer.astrom3.recipes import MODALITIES, SEEDS, SUBSETS, Subset
from trainer.astrom3.reproduce import Cell, Plan, run
from trainer.astrom3.scoring import score_published
from trainer.astrom3.table import Result, rich_table
from trainer.astrom3.training import Running
from trainer.bars import nested_bars
from trainer.options import COUNT, SEED

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
    seeds: Annotated[list[int] | None, Many, Parameter(validator=SEED)] = None,
    clip: Annotated[
        Literal["both", "with", "without"], Parameter(help="Arms: with or without contrastive pre-training.")
    ] = "both",
    epochs_max: Annotated[
        int | None, Parameter(help="For a trial: at most so many epochs a run.", validator=COUNT)
    ] = None,
    batch_size: Annotated[
        int | None, Parameter(help="For a trial: objects in a batch, not 512.", validator=COUNT)
    ] = None,
    layers: Annotated[
        int | None, Parameter(help="For a trial: layers of the Informer, not 8.", validator=COUNT)
    ] = None,
    padding: Annotated[Padding, Parameter(help="What padded rows of light curves hold.")] = "gen-2",
    device: Annotated[str | None, Parameter(help="cpu or cuda; default: cuda where there is one.")] = None,
    threads: Annotated[
        int | None, Parameter(help="Threads of a CPU; default: all cores.", validator=COUNT)
    ] = None,
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
    prepare_folder(out)
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
    with nested_bars("cells", len(list(plan.cells()))) as bars:
        summary = run(
            plan,
            on_cell=lambda cell, seed, epochs: bars.begin(_name(cell, seed), epochs),
            on_epoch=lambda record: bars.moved(record["epoch"] + 1),
            on_result=lambda result: bars.done(_line(result)),
        )
    _console.print(rich_table(summary))
    for caveat in summary["caveats"]:
        _console.print(f"- {caveat}", highlight=False)
    _console.print(f"wrote {out / 'table.json'}", markup=False, highlight=False, soft_wrap=True)


def _name(cell: Cell | None, seed: int) -> str:
    return cell.name if cell else f"contrastive model of seed {seed}"


def _line(result: Result) -> str:
    cell = Cell(**{key: result[key] for key in ("modality", "subset", "clip", "seed")})
    return f"{cell.name}: test accuracy {100 * result['test']['accuracy']:.2f} %"
