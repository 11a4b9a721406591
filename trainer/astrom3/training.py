# SPDX-License-Identifier: BSD-3-Clause
"""The paper's training loop: Adam with L2, warm-up, plateaus, early stopping, the best epoch by accuracy.

Everything random follows from the seed and the number of the epoch, and the state is written after each, so a
run that was killed goes on to the very numbers that it would have reached.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from broker_plugin.errors import ConfigurationError
from trainer.astrom3.batches import gather, ordered, shuffled
from trainer.astrom3.checkpoint import save_checkpoint
from trainer.astrom3.data import Objects
from trainer.astrom3.model import Modality, Model
from trainer.astrom3.objective import Objective
from trainer.astrom3.preprocess import Padding
from trainer.astrom3.recipes import LAYERS, Recipe
from trainer.state import load_state, save_state

__all__ = ["BEST", "Outcome", "Running", "Views", "fit", "learning_rate_share", "train_epoch", "validate"]

BEST = "best"
"""Folder of the best epoch's checkpoint, in the published layout."""

STATE, LOG = "state.safetensors", "log.jsonl"

OnEpoch = Callable[[Mapping[str, Any]], None]

Views = Callable[[int], Objects]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How a run is carried out, apart from the paper's recipe.

    Parameters
    ----------
    epochs_max
        Stop after so many epochs; None for the recipe's number. Fewer make it a trial, not a reproduction.
    batch_size
        In place of the recipe's; None for that.
    layers
        Of the Informer, in place of the paper's eight; None for those.
    parts
        Epochs that a pass over the objects is cut into. With smaller batches an epoch then has as many steps
        as the paper's, which its warm-up and its patience count on.
    """

    epochs_max: int | None = None
    batch_size: int | None = None
    layers: int | None = None
    parts: int = 1
    padding: Padding = "gen-2"
    device: str = "cpu"

    def epochs(self, recipe: Recipe) -> int:
        """Return how many epochs a run has at most."""
        return recipe.epochs if self.epochs_max is None else min(recipe.epochs, self.epochs_max)

    @property
    def trial(self) -> bool:
        """Whether something was changed that makes the numbers incomparable with the paper's."""
        changed = any(each is not None for each in (self.epochs_max, self.batch_size, self.layers))
        return changed or self.parts > 1

    @property
    def depth(self) -> int:
        """Layers of the Informer."""
        return self.layers or LAYERS

    def size(self, recipe: Recipe) -> int:
        """Return the number of objects in a batch."""
        return self.batch_size or recipe.batch_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run went.

    Parameters
    ----------
    epochs
        How many it had until it stopped.
    best_epoch
        The one that was kept, counted from 0.
    """

    epochs: int
    best_epoch: int
    validation_accuracy: float
    validation_loss: float
    seconds: float


@dataclass(slots=True, kw_only=True)
class _Progress:
    epoch: int = 0
    best_epoch: int = -1
    best_accuracy: float = 0.0
    best_loss: float = float("inf")
    waiting: int = 1
    """The original's counter of epochs without a better loss begins at one, not at zero."""
    seconds: float = 0.0
    finished: bool = False


def fit(
    model: Model,
    recipe: Recipe,
    objective: Objective,
    train: Objects,
    validation: Objects,
    *,
    modality: Modality,
    seed: int,
    folder: Path,
    running: Running | None = None,
    views: Views | None = None,
    on_epoch: OnEpoch = lambda record: None,
) -> Outcome:
    """Train a model, or go on with a run that was stopped; the best epoch lies in `folder` / best.

    Parameters
    ----------
    train
        The objects as the first pass sees them.
    views
        Returns them as a later pass sees them, by its number counted from 0, and equals for equal numbers.
        None where every pass sees the same.

    Raises
    ------
    ConfigurationError
        If the folder holds a run of other settings or data, or the loss is no longer finite.
    """
    running = running or Running()
    folder.mkdir(parents=True, exist_ok=True)
    model.to(running.device)
    optimiser = torch.optim.Adam(
        model.parameters(),
        lr=recipe.learning_rate,
        betas=(recipe.beta1, recipe.beta2),
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    plateau = ReduceLROnPlateau(optimiser, factor=recipe.factor, patience=recipe.plateau_patience)
    key = _key(recipe, running, seed, train, validation, redrawn=views is not None)
    seen = lru_cache(maxsize=1)(lambda number: views(number) if views and number else train)
    progress = _Progress()
    found = load_state(folder / STATE, model, optimiser)
    if found is not None:
        if found["key"] != key:
            raise ConfigurationError(
                f"{folder} holds a run of other settings or data; use another --out, or remove it"
            )
        progress = _Progress(**found["progress"])
        plateau.load_state_dict(found["plateau"])
    while progress.epoch < running.epochs(recipe) and not progress.finished:
        begun = time.monotonic()
        _set_learning_rate(optimiser, recipe, progress.epoch)
        loss, accuracy = train_epoch(
            model,
            optimiser,
            recipe,
            objective,
            seen(progress.epoch // running.parts),
            modality=modality,
            seed=seed,
            epoch=progress.epoch,
            running=running,
        )
        val_loss, val_accuracy = validate(
            model, objective, validation, modality=modality, size=running.size(recipe), running=running
        )
        if not np.isfinite([loss, val_loss]).all():
            raise ConfigurationError(f"{folder.name}: the loss is not finite at epoch {progress.epoch}")
        if progress.epoch >= recipe.warmup_epochs:
            plateau.step(val_loss)
        if val_accuracy > progress.best_accuracy or progress.best_epoch < 0:
            progress.best_accuracy, progress.best_epoch = val_accuracy, progress.epoch
            save_checkpoint(model, folder / BEST)
        record = {
            "epoch": progress.epoch,
            "loss": loss,
            "accuracy": accuracy,
            "validation_loss": val_loss,
            "validation_accuracy": val_accuracy,
            "learning_rate": optimiser.param_groups[0]["lr"],
            "seconds": round(time.monotonic() - begun, 2),
        }
        _count(progress, recipe, val_loss)
        progress.epoch += 1
        progress.seconds += time.monotonic() - begun
        content = {"key": key, "progress": asdict(progress), "plateau": plateau.state_dict()}
        save_state(folder / STATE, model, optimiser, content)
        with (folder / LOG).open("a") as file:
            file.write(json.dumps(record) + "\n")
        on_epoch(record)
    return Outcome(
        epochs=progress.epoch,
        best_epoch=progress.best_epoch,
        validation_accuracy=progress.best_accuracy,
        validation_loss=progress.best_loss,
        seconds=progress.seconds,
    )


def train_epoch(
    model: Model,
    optimiser: torch.optim.Optimizer,
    recipe: Recipe,
    objective: Objective,
    objects: Objects,
    *,
    modality: Modality,
    seed: int,
    epoch: int,
    running: Running,
) -> tuple[float, float]:
    """Take one step a batch; return the means of loss and accuracy over the batches."""
    torch.manual_seed(seed * 1000 + epoch)
    number, part = divmod(epoch, running.parts)
    rng = np.random.default_rng((seed, number))
    model.train()
    results = []
    for members, starts in islice(shuffled(objects, running.size(recipe), rng), part, None, running.parts):
        inputs = gather(
            objects, members, modality, starts=starts, padding=running.padding, device=running.device
        )
        label = torch.from_numpy(objects.label[members]).to(running.device)
        optimiser.zero_grad()
        loss, right = objective(model, inputs, label)
        loss.backward()  # type: ignore[no-untyped-call]
        if recipe.gradient_norm_max is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_norm_max)
        optimiser.step()
        results.append(torch.stack([loss.detach(), right]))
    return _mean(results)


def validate(
    model: Model, objective: Objective, objects: Objects, *, modality: Modality, size: int, running: Running
) -> tuple[float, float]:
    """Return the means of loss and accuracy over the batches, unweighted as in the original."""
    model.eval()
    results = []
    with torch.no_grad():
        for members in ordered(objects, size):
            inputs = gather(objects, members, modality, padding=running.padding, device=running.device)
            label = torch.from_numpy(objects.label[members]).to(running.device)
            results.append(torch.stack(objective(model, inputs, label)))
    return _mean(results)


def learning_rate_share(recipe: Recipe, epoch: int) -> float:
    """Return the share of the learning rate at an epoch of the warm-up, counted from 0.

    Examples
    --------
    >>> from trainer.astrom3.recipes import clip_recipe
    >>> [round(learning_rate_share(clip_recipe(), epoch), 4) for epoch in (0, 5, 10)]
    [0.0, 0.5, 1.0]
    """
    risen = min(1.0, epoch / recipe.warmup_epochs)
    return recipe.warmup_start + (1 - recipe.warmup_start) * risen


def _set_learning_rate(optimiser: torch.optim.Optimizer, recipe: Recipe, epoch: int) -> None:
    """Set the rate during the warm-up; afterwards the plateaus own it."""
    if epoch <= recipe.warmup_epochs:
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * learning_rate_share(recipe, epoch)


def _count(progress: _Progress, recipe: Recipe, val_loss: float) -> None:
    if val_loss < progress.best_loss:
        progress.best_loss, progress.waiting = val_loss, 1
    elif progress.waiting < recipe.stop_patience:
        progress.waiting += 1
    else:
        progress.finished = True


def _mean(results: list[torch.Tensor]) -> tuple[float, float]:
    loss, right = torch.stack(results).double().mean(dim=0).tolist()
    return loss, right


def _key(
    recipe: Recipe, running: Running, seed: int, train: Objects, validation: Objects, *, redrawn: bool
) -> str:
    """Return what the numbers follow from; the device and the last epoch may change on the way."""
    # Runs of before there were parts or views go on.
    parts = [running.parts] if running.parts > 1 else []
    views = ["views"] if redrawn else []
    settings = [asdict(recipe), running.size(recipe), *parts, *views, running.padding, seed]
    content = [settings, train.digest(), validation.digest()]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
