# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints without pickle: safetensors for tensors, JSON for the rest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from broker_plugin.errors import ConfigurationError
from broker_plugin.features.base import FEATURE_SPEC_VERSION
from broker_plugin.prior import LEAST_FREQUENCY
from trainer.config import Settings
from trainer.model import AlertModel
from trainer.sets import IMITATION_VERSION
from trainer.specs import explained
from trainer.state import load_state, save_state
from trainer.survey_cut import CUT_VERSION
from trainer.tempering import tempered

__all__ = [
    "BEGUN",
    "LOG",
    "MODEL",
    "NOTHING_KEPT",
    "POOL_VERSION",
    "STATE",
    "Kept",
    "Run",
    "load_model",
    "load_run",
    "new_model",
    "passes_trained",
    "resume",
    "save_checkpoint",
    "save_run",
    "training_key",
]

RUN, MODEL, PROGRESS, LOG = "run.json", "model.safetensors", "progress.json", "log.jsonl"

BEGUN = "pretrained"
"""Where a run's data say what its encoders were trained on before."""

STATE = "state.safetensors"
"""Weights, moments and counters in one file, so that a killed run goes on from all of them or none."""

ADDED_SETTINGS: Mapping[str, Mapping[str, object]] = {
    "training": {"precision": "fp32", "seed": None},
    "data": {"runs_per_star": [], "cuts_per_set": 0},
}
"""Settings by section that came later, with what was done before: where they say so, nothing has changed."""

NAMES, DESCRIPTIONS = {"sample", "source"}, {"source", "footprint"}
"""Settings and entries of a run's data that say what the stars are and change no number."""

DRAWS_VERSION = "6"
"""Version of the draws of a pass; raise it with any change, or a stopped run goes on with other ones."""

POOL_VERSION = "2"
"""The same for the windows without labels of `trainer pretrain` and `trainer limited-labels`."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a run is not to find out anew from its data.

    Parameters
    ----------
    specs
        Those of modalities whose encoders were trained with them.
    data
        What is known of data that it never sees.
    """

    specs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Run) -> Kept:
        """Return what a run keeps when it is taken up again."""
        return cls(specs=run.specs, data={name: run.data[name] for name in (BEGUN,) if name in run.data})


NOTHING_KEPT = Kept()


def save_run(run: Run, folder: Path) -> None:
    """Write what is fixed for a run, unless just that is there: other processes may be reading it.

    Raises
    ------
    ConfigurationError
        If the folder holds a model that follows from something else. What is written of it stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "settings": run.settings.model_dump(mode="json"),
        "specs": run.specs,
        "classes": run.classes,
        "class_prior": run.class_prior,
        "frequencies": run.frequencies,
        "data": run.data,
    }
    text, path = json.dumps(content, indent=2) + "\n", folder / RUN
    if path.is_file() and path.read_text() == text:
        return
    is_trained = any((folder / name).is_file() for name in (STATE, PROGRESS))
    if is_trained and not (path.is_file() and training_key(load_run(folder)) == training_key(run)):
        raise _of_another(folder)
    path.write_text(text)


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
            f"{path} was written by another version ({'; '.join(explained(error))}); give --config the "
            "settings of this one"
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
    """Return a model with random weights, by the training's seed."""
    torch.manual_seed(run.settings.training_seed)
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


def training_key(run: Run, *more: str) -> str:
    """Return what the weights follow from: later stages may change without a new training, and the computer.

    Parameters
    ----------
    more
        What else they follow from than settings and data.
    """
    settings = run.settings.model_dump(
        mode="json",
        include={"seed", "model", "modalities", "data", "training"},
        exclude={"training": {"device", "threads"}, "data": NAMES},
    )
    for section, added in ADDED_SETTINGS.items():
        for name, before in added.items():
            if settings[section][name] == before:
                del settings[section][name]
    inputs = f"{FEATURE_SPEC_VERSION}/{IMITATION_VERSION}/{DRAWS_VERSION}"
    if run.settings.data.cuts_per_set:
        inputs += f"/{CUT_VERSION}"
    data = {name: value for name, value in run.data.items() if name not in DESCRIPTIONS}
    content = [settings, run.specs, run.classes, run.frequencies, data, inputs, *more]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def save_checkpoint(
    key: str,
    model: AlertModel,
    optimiser: torch.optim.Optimizer,
    progress: Mapping[str, Any],
    folder: Path,
) -> None:
    """Write a checkpoint: what a stopped run goes on from, and the model and its progress for all others."""
    content = {**progress, "of": key}
    save_state(folder / STATE, model, optimiser, content)
    _publish(model, content, folder)


def resume(
    key: str, model: AlertModel, optimiser: torch.optim.Optimizer, folder: Path, *, passes: int
) -> dict[str, Any] | None:
    """Load the last checkpoint into a model and its optimiser; None if there is none.

    Parameters
    ----------
    passes
        How many there are to be: a run that has them needs no optimiser.

    Raises
    ------
    ConfigurationError
        If the checkpoint was trained with other settings or data, or cannot be gone on from.
    """
    path = folder / PROGRESS
    published: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    if published is not None:
        _require(key, published, folder)
    progress = load_state(folder / STATE, model, optimiser)
    if progress is not None:
        _require(key, progress, folder)
    elif published is not None:
        if published["passes"] < passes:
            raise ConfigurationError(f"{folder} holds a training without its state; use another --out")
        model.load_state_dict(load_file(folder / MODEL), strict=True)
        progress = published
    return progress


def passes_trained(run: Run, folder: Path) -> int:
    """Return how many passes of a run's training the weights in a folder have behind them.

    None (0) where they follow from other settings or data, or were fine-tuned.
    """
    path = folder / PROGRESS
    progress: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return int(progress["passes"]) if progress.get("of") == training_key(run) else 0


def _publish(model: AlertModel, content: Mapping[str, Any], folder: Path) -> None:
    save_file(model.state_dict(), folder / (MODEL + ".part"))
    (folder / (PROGRESS + ".part")).write_text(json.dumps(content) + "\n")
    for name in (MODEL, PROGRESS):
        (folder / (name + ".part")).replace(folder / name)


def _require(key: str, progress: Mapping[str, Any], folder: Path) -> None:
    if progress["of"] != key:
        raise _of_another(folder)


def _of_another(folder: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{folder} holds a model that was trained with other settings or data, or by another version of the "
        "trainer; use another --out"
    )
