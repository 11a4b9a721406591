# SPDX-License-Identifier: BSD-3-Clause
"""The experiment: share of labels x with or without contrastive pre-training x seed.

Both arms are fine-tuned alike: the same labelled stars, steps, and learning rates to choose from. Each arm
and share chooses its rate on the validation stars with the first seed, and keeps it for the others. All are
measured on the same test stars. Every training has a result file, so an experiment that was stopped goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from broker_plugin.errors import ConfigurationError
from trainer.checkpoint import POOL_VERSION, Run, save_run, training_key
from trainer.compute import Compute
from trainer.data.splits import Split, object_groups
from trainer.json_file import write_json
from trainer.limited.labels import label_order
from trainer.limited.measuring import first_sets, measure
from trainer.preparation import Prepared
from trainer.pretrained import Pretrained, read_pretrained
from trainer.sets import ExampleSet
from trainer.tempering import draw_classes, tempered
from trainer.training import Log, finetune, pretrain
from trainer.weights import pool_of

__all__ = ["Cell", "Experiment", "Result", "Watcher", "run_experiment", "validation_score"]

Result = Mapping[str, Any]
"""The content of a training's file: the cell, its labelled stars, and measures by split and setting."""

CHOSEN_BY = "macro_f1"
"""Measure whose mean over the settings, on the validation stars, chooses the learning rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One fine-tuning."""

    pretrained: bool
    share: float
    seed: int
    learning_rate: float

    @property
    def name(self) -> str:
        """Name of its file and folder."""
        arm = "pretrained" if self.pretrained else "random"
        return f"{arm}-{100 * self.share:g}-seed{self.seed}-rate{self.learning_rate:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What to run, on which stars.

    Parameters
    ----------
    windows_per_pass
        Windows of labelled stars that a pass of fine-tuning draws: the same for every share, so that all
        take the same number of steps.
    pretraining_passes
        None for the number in [pretraining].
    """

    prepared: Prepared
    out: Path
    shares: tuple[float, ...]
    seeds: tuple[int, ...]
    learning_rates: tuple[float, ...]
    passes: int
    windows_per_pass: int
    pretraining_passes: int | None = None

    @property
    def n_trainings(self) -> int:
        """Number of pre-trainings and fine-tunings."""
        fine = 2 * len(self.shares) * (len(self.learning_rates) + len(self.seeds) - 1)
        return fine + len(self.seeds)

    def run_of(self, seed: int, learning_rate: float | None = None) -> Run:
        """Return a training's settings; without a rate that of the configuration."""
        settings = self.prepared.run.settings
        training: dict[str, Any] = {"passes": self.passes, "seed": None}
        if learning_rate is not None:
            training["learning_rate"] = learning_rate
        before = {} if self.pretraining_passes is None else {"passes": self.pretraining_passes}
        changed = {
            "seed": seed,
            "training": settings.training.model_copy(update=training),
            "pretraining": settings.pretraining.model_copy(update=before),
        }
        return replace(self.prepared.run, settings=settings.model_copy(update=changed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Who is told how the experiment goes.

    Parameters
    ----------
    begin
        Told the name of a training and its passes.
    done
        Told the result of a fine-tuning, and None after a pre-training.
    """

    begin: Callable[[str, int], None] = lambda name, passes: None
    on_pass: Log = lambda record: None
    done: Callable[[Result | None], None] = lambda result: None


def run_experiment(
    experiment: Experiment, *, compute: Compute, watcher: Watcher | None = None
) -> list[Result]:
    """Run what has not been run yet, and return the results of the trainings with the chosen rates.

    Raises
    ------
    ConfigurationError
        If the folder holds results of other settings or data.
    """
    bench = _Bench(experiment, compute, watcher or Watcher())
    rates: dict[tuple[bool, float], float] = {}
    chosen: list[Result] = []
    for seed in experiment.seeds:
        start = bench.pretrained(seed)
        for share in experiment.shares:
            for arm in (False, True):
                rate = rates.get((arm, share))
                tried = [
                    bench.finetuned(
                        Cell(pretrained=arm, share=share, seed=seed, learning_rate=each),
                        start if arm else None,
                    )
                    for each in (experiment.learning_rates if rate is None else (rate,))
                ]
                best = max(tried, key=validation_score)
                rates[arm, share] = best["learning_rate"]
                scores = {f"{each['learning_rate']:g}": validation_score(each) for each in tried}
                chosen.append({**best, "tried": scores})
    return chosen


def validation_score(result: Result) -> float:
    """Return what a learning rate is chosen by."""
    scores = [measures[CHOSEN_BY] for measures in result["validation"].values()]
    return round(float(np.mean(scores)), 3)


class _Bench:
    """Runs single trainings on the stars of an experiment."""

    def __init__(self, experiment: Experiment, compute: Compute, watcher: Watcher) -> None:
        prepared = experiment.prepared
        self._experiment, self._compute, self._watcher = experiment, compute, watcher
        self._pool, self._validation_pool = (
            pool_of([prepared], split, compute) for split in (Split.TRAIN, Split.VALIDATION)
        )
        self._held_out = {split: first_sets(prepared, split) for split in (Split.VALIDATION, Split.TEST)}
        stars = prepared.stars
        self._label = np.where(prepared.split == Split.TRAIN, stars.label, -1)
        self._share = tempered(np.bincount(self._label[self._label >= 0]))
        self._group = object_groups(stars.ra_deg, stars.dec_deg)

    def pretrained(self, seed: int) -> Pretrained:
        """Return the encoders that a seed begins with, trained on all training stars without labels."""
        run = self._experiment.run_of(seed)
        folder = self._experiment.out / "pretrained" / f"seed{seed}"
        save_run(run, folder)
        self._watcher.begin(f"pre-training, seed {seed}", run.settings.pretraining.passes)
        pretrain(
            run,
            folder,
            self._pool,
            self._validation_pool,
            compute=self._compute,
            on_pass=self._watcher.on_pass,
        )
        self._watcher.done(None)
        return read_pretrained(folder)

    def finetuned(self, cell: Cell, start: Pretrained | None) -> Result:
        """Return the result of a fine-tuning, run if it has not been."""
        experiment = self._experiment
        run = experiment.run_of(cell.seed, cell.learning_rate)
        labelled = label_order(self._label, self._group, np.random.default_rng((cell.seed, 17))) < cell.share
        begun = "" if start is None else start.digest
        key = training_key(run, "limited", POOL_VERSION, cell.name, str(experiment.windows_per_pass), begun)
        path = experiment.out / "cells" / f"{cell.name}.json"
        if path.is_file():
            result: Result = json.loads(path.read_text())
            if result["key"] != key:
                raise ConfigurationError(f"{path} is of other settings or data; use another --out")
        else:
            result = {"key": key, **asdict(cell), **self._measured(cell, run, labelled, start)}
            write_json(path, result)
        self._watcher.done(result)
        return result

    def _measured(
        self,
        cell: Cell,
        run: Run,
        labelled: np.ndarray[tuple[int], np.dtype[np.bool_]],
        start: Pretrained | None,
    ) -> dict[str, Any]:
        rows = np.flatnonzero(labelled[self._pool.star])
        windows = replace(self._pool.take(rows), label=self._label[self._pool.star[rows]])

        def train_set(number: int) -> ExampleSet:
            rng = np.random.default_rng((cell.seed, 18, number))
            n = self._experiment.windows_per_pass
            return windows.take(draw_classes(windows.label, self._share, n, rng))

        folder = self._experiment.out / "work" / cell.name
        folder.mkdir(parents=True, exist_ok=True)
        self._watcher.begin(cell.name, self._experiment.passes)
        model = finetune(
            run,
            folder,
            train_set,
            self._held_out[Split.VALIDATION]["all"],
            start=start,
            compute=self._compute,
            on_pass=self._watcher.on_pass,
        )
        measures = {split.name.lower(): measure(model, sets) for split, sets in self._held_out.items()}
        shutil.rmtree(folder)
        return {"labelled_stars": int(labelled.sum()), **measures}
