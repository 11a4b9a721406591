# SPDX-License-Identifier: BSD-3-Clause
"""The paper's table: modality x share of labels x with or without contrastive pre-training x seed.

Two things are stricter than in the authors' code: the contrastive model is trained anew for every seed, on
that seed's training objects only, and accuracies are those of the test split. Every cell has a file of its
own, so a run that was killed goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from broker_plugin.errors import ConfigurationError
from trainer.astrom3.checkpoint import load_checkpoint, load_encoder
from trainer.astrom3.data import Objects, read_objects, require_no_overlap
from trainer.astrom3.model import AstroM3, Modality, new_model
from trainer.astrom3.objective import classify, contrast
from trainer.astrom3.recipes import MODALITIES, SEEDS, SUBSETS, Recipe, Subset, clip_recipe, recipe
from trainer.astrom3.scoring import evaluate
from trainer.astrom3.table import Result, summarise
from trainer.astrom3.training import BEST, OnEpoch, Outcome, Running, fit
from trainer.json_file import write_json

__all__ = ["Cell", "Plan", "collect", "run"]

TABLE = "table.json"

OnCell = Callable[["Cell | None", int, int], None]
"""Called before a cell (or the contrastive model: None) with the seed and the most epochs it can have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One number of the table."""

    modality: Modality
    subset: Subset
    clip: bool
    seed: int

    @property
    def name(self) -> str:
        """Name of its file and folder."""
        return f"{self.modality}-{self.subset}{'-clip' if self.clip else ''}-{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which cells to run, on which data.

    Parameters
    ----------
    data
        Folder of AstroM3Processed.
    keep_weights
        Keep the weights of every cell; those of the contrastive models are always kept.
    """

    data: Path
    out: Path
    modalities: tuple[Modality, ...] = MODALITIES
    subsets: tuple[Subset, ...] = SUBSETS
    arms: tuple[bool, ...] = (False, True)
    seeds: tuple[int, ...] = SEEDS
    running: Running = field(default_factory=Running)
    keep_weights: bool = False

    def cells(self) -> Iterator[Cell]:
        """Yield the cells, those of one data set in a row."""
        for seed in self.seeds:
            for subset in self.subsets:
                for modality in self.modalities:
                    for clip in self.arms:
                        yield Cell(modality=modality, subset=subset, clip=clip, seed=seed)

    def configs(self) -> tuple[str, ...]:
        """Return the names of the data sets that the cells need."""
        subsets = {*self.subsets, *(("full",) if True in self.arms else ())}
        return tuple(f"{subset}_{seed}" for seed in self.seeds for subset in sorted(subsets))


def run(
    plan: Plan,
    *,
    on_cell: OnCell = lambda cell, seed, epochs: None,
    on_epoch: OnEpoch = lambda record: None,
    on_result: Callable[[Result], None] = lambda result: None,
) -> dict[str, Any]:
    """Run what of a plan has not been run, and return the table; it is also written to OUT/table.json.

    Raises
    ------
    ConfigurationError
        If data are missing or shared between training and test, or OUT holds results of other settings.
    """
    source = _Source(plan.data)
    for cell in plan.cells():
        key = _key(cell, plan)
        result = _read_result(plan.out, cell, key)
        if result is None:
            clip = _contrastive(plan, cell.seed, source, on_cell, on_epoch) if cell.clip else None
            on_cell(cell, cell.seed, plan.running.epochs(_recipe(cell)))
            result = _run_cell(cell, plan, key, source, clip, on_epoch)
        on_result(result)
    summary = summarise(collect(plan.out))
    write_json(plan.out / TABLE, summary)
    return summary


def collect(out: Path) -> list[Result]:
    """Return the results of all finished cells of a run."""
    return [json.loads(path.read_text()) for path in sorted((out / "cells").glob("*.json"))]


class _Source:
    """Splits as they are asked for; the last full set and the last subset stay in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: dict[str, tuple[str, dict[str, Objects]]] = {}

    def read(self, subset: str, seed: int) -> dict[str, Objects]:
        """Return train, validation and test of a data set; no test object is in its training split."""
        config = f"{subset}_{seed}"
        place = "full" if subset == "full" else "subset"
        kept = self._kept.get(place)
        if kept is None or kept[0] != config:
            self._kept.pop(place, None)
            splits = {
                split: read_objects(self.folder, config, split) for split in ("train", "validation", "test")
            }
            require_no_overlap(splits["train"], splits["test"], f"the training split of {config}")
            self._kept[place] = (config, splits)
        return self._kept[place][1]


def _contrastive(plan: Plan, seed: int, source: _Source, on_cell: OnCell, on_epoch: OnEpoch) -> AstroM3:
    """Return the contrastive model of a seed, trained if it is not yet."""
    folder = plan.out / f"clip-{seed}"
    done = folder / "outcome.json"
    settings = clip_recipe()
    key = _digest([asdict(settings), seed, *_run_key(plan, f"full_{seed}")])
    if not done.is_file():
        splits = source.read("full", seed)
        on_cell(None, seed, plan.running.epochs(settings))
        torch.manual_seed(seed)
        config = settings.config(
            "all", classes=len(splits["train"].classes), classification=False, layers=plan.running.depth
        )
        outcome = fit(
            new_model(config),
            settings,
            contrast,
            splits["train"],
            splits["validation"],
            modality="all",
            seed=seed,
            folder=folder,
            running=plan.running,
            on_epoch=on_epoch,
        )
        write_json(done, {"key": key, **asdict(outcome)})
        (folder / "state.safetensors").unlink(missing_ok=True)
    if json.loads(done.read_text())["key"] != key:
        raise ConfigurationError(f"{folder} was trained with other settings or data; use another --out")
    model = load_checkpoint(folder / BEST)
    assert isinstance(model, AstroM3)  # noqa: S101 - it was just made as one
    return model


def _run_cell(
    cell: Cell, plan: Plan, key: str, source: _Source, clip: AstroM3 | None, on_epoch: OnEpoch
) -> Result:
    splits = source.read(cell.subset, cell.seed)
    if clip is not None:
        full = source.read("full", cell.seed)
        for split in ("train", "validation"):
            require_no_overlap(full[split], splits["test"], f"the {split} split of the contrastive model")
    settings = _recipe(cell)
    folder = plan.out / "work" / cell.name
    torch.manual_seed(cell.seed)
    classes = splits["train"].classes
    model = new_model(
        settings.config(cell.modality, classes=len(classes), classification=True, layers=plan.running.depth)
    )
    if clip is not None:
        load_encoder(model, clip)
    outcome: Outcome = fit(
        model,
        settings,
        classify,
        splits["train"],
        splits["validation"],
        modality=cell.modality,
        seed=cell.seed,
        folder=folder,
        running=plan.running,
        on_epoch=on_epoch,
    )
    best = load_checkpoint(folder / BEST)
    result = {
        "key": key,
        **asdict(cell),
        "trial": plan.running.trial,
        "test": evaluate(best, splits["test"], cell.modality, running=plan.running),
        "objects": {split: len(objects) for split, objects in splits.items()},
        "outcome": asdict(outcome),
    }
    write_json(_result_path(plan.out, cell), result)
    if not plan.keep_weights:
        shutil.rmtree(folder)
    return result


def _recipe(cell: Cell) -> Recipe:
    return recipe(cell.modality, cell.subset, clip=cell.clip)


def _read_result(out: Path, cell: Cell, key: str) -> Result | None:
    path = _result_path(out, cell)
    if not path.is_file():
        return None
    result: Mapping[str, Any] = json.loads(path.read_text())
    if result["key"] != key:
        raise ConfigurationError(f"{path} is of other settings or data; use another --out")
    return result


def _result_path(out: Path, cell: Cell) -> Path:
    return out / "cells" / f"{cell.name}.json"


def _key(cell: Cell, plan: Plan) -> str:
    needed = [f"{cell.subset}_{cell.seed}", *([f"full_{cell.seed}"] if cell.clip else [])]
    before = asdict(clip_recipe()) if cell.clip else None
    return _digest([asdict(cell), asdict(_recipe(cell)), before, *_run_key(plan, *needed)])


def _run_key(plan: Plan, *configs: str) -> list[Any]:
    """Return what else a result follows from; the data by names and sizes, which are quick to know."""
    files = [path for config in configs for path in sorted((plan.data / config).rglob("*.parquet"))]
    sizes = [[path.relative_to(plan.data).as_posix(), path.stat().st_size] for path in files]
    running = plan.running
    return [running.epochs_max, running.batch_size, running.layers, running.padding, sizes]


def _digest(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
