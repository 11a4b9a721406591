# SPDX-License-Identifier: BSD-3-Clause
"""`trainer seeds`: the same training again with other seeds, to know how far results move by chance."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from broker_plugin.errors import ConfigurationError
from trainer.bars import scoring_bar
from trainer.bundle_evaluation import evaluate_bundle
from trainer.checkpoint import BEGUN, MODEL, RUN, Kept, Run, load_run, passes_trained, save_run, training_key
from trainer.compute import Compute
from trainer.data.catalina import FILE, file_digest
from trainer.data.used import UsedStars
from trainer.exporting import run_export
from trainer.fitting import CATALOGUE, fit
from trainer.object_runs import prepare_labelled
from trainer.options import Data, Workers, data_folder, say
from trainer.preparation import Prepared, seen_stars
from trainer.weights import train_weights

__all__ = ["SEEDS", "lines_of", "seeds"]

SEEDS = "seeds"
"""Folder of a run that holds NAME.parquet and NAME.json of each further training."""

SHOWN = ("macro_f1", "ece", "near_ood_auroc")
"""Measures whose spread is printed; the report shows all."""


def seeds(
    *,
    run: Annotated[Path, Parameter(help="The finished run that is trained again.")] = Path("runs/default"),
    data: Data = None,
    seeds: Annotated[int, Parameter(help="Trainings in all, the run's own among them.")] = 5,
    workers: Workers = 2,
) -> None:
    """Train a run again with other seeds, on its split and its cached alerts, and measure each bundle.

        trainer seeds --run runs/default --seeds 5

    Only first weights, order, dropout, the windows of each pass and the forests differ. Predictions for the
    test stars go to RUN/seeds, where `trainer report --run RUN` finds them. Stopped trainings go on, finished
    ones are kept.
    """
    own, catalogue = load_run(run), data_folder(data) / FILE
    _require_repeatable(own, run, catalogue, n=seeds)
    prepared = prepare_labelled(own.settings, data_folder(data), run, say=say, kept=Kept.of(own))
    measured = [json.loads((run / CATALOGUE).read_text())]
    others = (number for number in count(1) if number != own.settings.training_seed)
    for number in islice(others, seeds - 1):
        again = replace(prepared, run=_with_seed(prepared.run, number))
        folder = run / SEEDS / f"seed{number}"
        _discard_outdated(again.run, folder)
        if not folder.with_suffix(".parquet").is_file():
            _train_and_measure(again, folder, catalogue, seen=seen_stars(run), workers=workers)
        measured.append(json.loads(folder.with_suffix(".json").read_text()))
    for line in lines_of(measured):
        say(line)


def lines_of(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return mean and standard deviation over trainings of each measure that there is, as lines to print.

    Examples
    --------
    >>> nothing = {name: {"all": None} for name in SHOWN}
    >>> lines_of([nothing | {"macro_f1": {"all": value}} for value in (0.8, 0.9)])
    ['macro_f1: all 0.850 +- 0.071 (2 trainings)']
    """
    lines = []
    for name in SHOWN:
        parts = []
        for setting in measured[0][name]:
            values = [each[name][setting] for each in measured if each[name][setting] is not None]
            if not values:
                continue
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            parts.append(f"{setting} {np.mean(values):.3f} +- {spread:.3f}")
        if parts:
            lines.append(f"{name}: {', '.join(parts)} ({len(measured)} trainings)")
    return lines


def _require_repeatable(own: Run, folder: Path, catalogue: Path, *, n: int) -> None:
    """Refuse what could only fail after hours, or would be another training.

    Raises
    ------
    ConfigurationError
        If the run is not one of `trainer train` on the light-curve catalogue that was finished and measured.
    """
    if n < 2:
        raise ConfigurationError("--seeds counts the run's own training too; give 2 or more")
    if BEGUN in own.data:
        raise ConfigurationError(
            f"the run in {folder} was fine-tuned; only runs of `trainer train` can be repeated"
        )
    if own.data.get("file") != FILE:
        raise ConfigurationError(f"the run in {folder} was not made from {FILE}; only such can be repeated")
    if passes_trained(own, folder) < own.settings.training.passes:
        raise ConfigurationError(
            f"the run in {folder} has no finished training of its settings by this version of the trainer; "
            "finish it with `trainer train`, or train it again into another --out"
        )
    if not (folder / CATALOGUE).is_file():
        raise ConfigurationError(
            f"the run in {folder} is not measured; run `trainer fit-anomaly --run {folder}` first"
        )
    if not catalogue.is_file() or file_digest(catalogue) != own.data["sha256"]:
        raise ConfigurationError(
            f"{catalogue} is not the file that the run in {folder} was made from; give --data"
        )


def _with_seed(run: Run, seed: int) -> Run:
    training = run.settings.training.model_copy(update={"seed": seed})
    return replace(run, settings=run.settings.model_copy(update={"training": training}))


def _discard_outdated(run: Run, folder: Path) -> None:
    """Remove a training of other settings or data, and the measures of one that was fitted in another way.

    Measures without their training are kept: what they are of cannot be told.
    """
    if not (folder / RUN).is_file():
        return
    before = load_run(folder)
    is_other = training_key(before) != training_key(run) or (
        (folder / MODEL).is_file() and not passes_trained(run, folder)
    )
    if not is_other and _fitting(before) == _fitting(run):
        return
    say(f"{folder} is of an earlier state of the run and is made again")
    if is_other:
        shutil.rmtree(folder)
    for suffix in (".json", ".parquet"):
        folder.with_suffix(suffix).unlink(missing_ok=True)


def _fitting(run: Run) -> tuple[object, ...]:
    """Return the settings of what is fitted after the training."""
    return run.settings.anomaly, run.settings.calibration


def _train_and_measure(
    prepared: Prepared, folder: Path, stars: Path, *, seen: UsedStars, workers: int
) -> None:
    """Train, fit, export and measure one more bundle; its predictions are written last."""
    say(f"training {folder.name}")
    folder.mkdir(parents=True, exist_ok=True)
    save_run(prepared.run, folder)
    train_weights(prepared, folder, Compute.alone(prepared.run.settings.training))
    fit(prepared, folder, say=say)
    run_export("--checkpoint", str(folder), "--out", str(folder / "bundle"))
    with scoring_bar() as (begin, advance):
        evaluate_bundle(
            str(folder / "bundle"),
            stars,
            folder.with_suffix(".json"),
            folder.with_suffix(".parquet"),
            seen=seen,
            workers=workers,
            begin=begin,
            advance=advance,
        )
