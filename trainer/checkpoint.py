# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints without pickle: safetensors for tensors, JSON for the rest, the optimiser as plain tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from broker_plugin.errors import ConfigurationError
from broker_plugin.prior import LEAST_FREQUENCY
from trainer.config import Settings
from trainer.model import AlertModel
from trainer.tempering import tempered

__all__ = ["Run", "load_model", "load_run", "new_model", "resume", "save_checkpoint", "save_run"]

RUN, MODEL, OPTIMISER, PROGRESS = "run.json", "model.safetensors", "optimiser.pt", "progress.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is fixed for a run before its first step.

    Parameters
    ----------
    specs
        Spec of each modality's preprocessing, in order.
    frequencies
        Share of each class in the named prior.
    data
        Digest and counts of the training data.
    """

    settings: Settings
    specs: Mapping[str, Mapping[str, Any]]
    classes: tuple[str, ...]
    class_prior: str
    frequencies: tuple[float, ...]
    data: Mapping[str, Any]


def save_run(run: Run, folder: Path) -> None:
    """Write what is fixed for a run."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "settings": run.settings.model_dump(mode="json"),
        "specs": run.specs,
        "classes": run.classes,
        "class_prior": run.class_prior,
        "frequencies": run.frequencies,
        "data": run.data,
    }
    (folder / RUN).write_text(json.dumps(content, indent=2) + "\n")


def load_run(folder: Path) -> Run:
    """Read what is fixed for a run.

    Raises
    ------
    ConfigurationError
        If the folder holds none.
    """
    path = folder / RUN
    if not path.is_file():
        raise ConfigurationError(f"no training run in {folder}; make one with `trainer train --out {folder}`")
    content = json.loads(path.read_text())
    try:
        settings = Settings.model_validate(content["settings"])
    except ValidationError as error:
        raise ConfigurationError(
            f"{path} was written by another version ({error}); give --config the settings of this one"
        ) from error
    return Run(
        settings=settings,
        specs=content["specs"],
        classes=tuple(content["classes"]),
        class_prior=content["class_prior"],
        frequencies=tuple(content["frequencies"]),
        data=content["data"],
    )


def new_model(run: Run) -> AlertModel:
    """Return a model with random weights, by the run's seed."""
    torch.manual_seed(run.settings.seed)
    model = AlertModel(run.specs, len(run.classes), run.settings)
    frequencies = np.maximum(run.frequencies, LEAST_FREQUENCY)
    share = tempered(frequencies)
    model.head.log_prior.copy_(torch.from_numpy(np.log(frequencies / share)))
    model.head.log_even.copy_(torch.from_numpy(-np.log(share * len(share))))
    return model


def load_model(run: Run, folder: Path) -> AlertModel:
    """Return the trained model of a run, ready to encode; every weight must be there.

    Raises
    ------
    ConfigurationError
        If the run has no checkpoint yet.
    """
    path = folder / MODEL
    if not path.is_file():
        raise ConfigurationError(
            f"no checkpoint in {folder}; train first with `trainer train --out {folder}`"
        )
    model = new_model(run)
    model.load_state_dict(load_file(path), strict=True)
    return model.eval()


def save_checkpoint(
    run: Run,
    model: AlertModel,
    optimiser: torch.optim.Optimizer,
    progress: Mapping[str, Any],
    folder: Path,
) -> None:
    """Write a checkpoint; the progress file comes last and makes it valid."""
    save_file(model.state_dict(), folder / (MODEL + ".part"))
    torch.save(optimiser.state_dict(), folder / (OPTIMISER + ".part"))
    for name in (MODEL, OPTIMISER):
        (folder / (name + ".part")).replace(folder / name)
    unfinished = folder / (PROGRESS + ".part")
    unfinished.write_text(json.dumps({**progress, "of": _training_digest(run)}) + "\n")
    unfinished.replace(folder / PROGRESS)


def resume(
    run: Run, model: AlertModel, optimiser: torch.optim.Optimizer, folder: Path
) -> dict[str, Any] | None:
    """Load the last checkpoint into a model and its optimiser; None if there is none.

    Raises
    ------
    ConfigurationError
        If the checkpoint was trained with other settings or data.
    """
    path = folder / PROGRESS
    if not path.is_file():
        return None
    progress: dict[str, Any] = json.loads(path.read_text())
    if progress.pop("of", None) != _training_digest(run):
        raise ConfigurationError(
            f"{folder} holds a model that was trained with other settings or data; use another --out"
        )
    model.load_state_dict(load_file(folder / MODEL), strict=True)
    optimiser.load_state_dict(torch.load(folder / OPTIMISER, weights_only=True))
    return progress


def _training_digest(run: Run) -> str:
    """Return what the weights follow from: later stages may change without a new training."""
    settings = run.settings.model_dump(
        mode="json", include={"seed", "model", "modalities", "data", "training"}
    )
    content = [settings, run.specs, run.classes, run.frequencies, run.data]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
