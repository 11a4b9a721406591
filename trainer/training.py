# SPDX-License-Identifier: BSD-3-Clause
"""The training loop.

Everything random follows from the seed and the number of the pass, so that a run that was stopped goes on
with the very same numbers.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from broker_plugin.features.base import pad
from trainer.checkpoint import Run, new_model, resume, save_checkpoint
from trainer.config import TrainingSettings
from trainer.inference import encode, surprise_of
from trainer.lengths import padded_lengths
from trainer.losses import contrastive_loss, total_loss
from trainer.metrics import auroc
from trainer.model import DISCOVERIES, AlertModel, fuse
from trainer.outliers import Oddity
from trainer.sets import ExampleSet

__all__ = ["Log", "batches", "train"]

GRADIENT_NORM_MAX = 1.0
"""Longest gradient; a rare batch of wild light curves would else undo a hundred steps."""

LOG = "log.jsonl"

Log = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class _Batch:
    rows: NDArray[np.intp]
    length: int


def train(
    run: Run,
    folder: Path,
    train_set: Callable[[int], ExampleSet],
    validation: ExampleSet,
    *,
    on_pass: Log = lambda record: None,
) -> AlertModel:
    """Train a model, or go on with one that was stopped, and return it.

    Parameters
    ----------
    folder
        Where checkpoints and the log go: one line of JSON a pass.
    train_set
        Gives the set of a number.
    on_pass
        Called with the record of every finished pass.
    """
    settings = run.settings.training
    torch.set_num_threads(settings.threads)
    model = new_model(run)
    optimiser = torch.optim.AdamW(_groups(model, settings), lr=settings.learning_rate)
    progress = resume(run, model, optimiser, folder) or {"passes": 0, "steps": 0}
    for number in range(progress["passes"], settings.passes):
        started = time.monotonic()
        torch.manual_seed(run.settings.seed + 1000 * number)
        examples = train_set(number % run.settings.data.train_sets)
        losses, progress["steps"] = _one_pass(
            model, optimiser, examples, run, number=number, steps=progress["steps"]
        )
        progress["passes"] = number + 1
        record = {
            "pass": number + 1,
            "steps": progress["steps"],
            "alerts": len(examples),
            **{name: round(value, 5) for name, value in losses.items()},
            **_validate(model, validation),
            "scale": round(model.scale().item(), 3),
            "seconds": round(time.monotonic() - started, 1),
        }
        save_checkpoint(run, model, optimiser, progress, folder)
        with (folder / LOG).open("a") as file:
            file.write(json.dumps(record) + "\n")
        on_pass(record)
    return model.eval()


def batches(examples: ExampleSet, settings: TrainingSettings, rng: np.random.Generator) -> Iterator[_Batch]:
    """Yield batches of alerts of similar length in random order."""
    lengths = np.max([tokens.lengths for tokens in examples.tokens.values()], axis=0)
    made = []
    shorter = 0
    for length in padded_lengths(int(lengths.max(initial=0))):
        rows = rng.permutation(np.flatnonzero((lengths > shorter) & (lengths <= length)))
        size = max(16, min(settings.batch_max, settings.tokens_per_batch // length))
        made += [_Batch(rows[start : start + size], length) for start in range(0, len(rows), size)]
        shorter = length
    for position in rng.permutation(len(made)):
        yield made[position]


def _one_pass(
    model: AlertModel,
    optimiser: torch.optim.Optimizer,
    examples: ExampleSet,
    run: Run,
    *,
    number: int,
    steps: int,
) -> tuple[dict[str, float], int]:
    settings = run.settings.training
    rng = np.random.default_rng((run.settings.seed, 4, number))
    todo = list(batches(examples, settings, rng))
    sums: dict[str, float] = {}
    model.train()
    for position, batch in enumerate(todo):
        done = (number + position / len(todo)) / settings.passes
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _schedule(steps, done, settings)
        embeddings, present = _embed(model, examples, batch)
        label = torch.from_numpy(examples.label[batch.rows])
        oddity = torch.from_numpy(examples.oddity[batch.rows].astype(np.int64))
        loss, parts = total_loss(model, embeddings, present, label, oddity, settings)
        if not loss.requires_grad:
            # A single alert without a class: there is nothing to tell it from.
            continue
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM_MAX)
        optimiser.step()
        steps += 1
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + value * len(batch.rows) / len(examples)
    return sums, steps


def _embed(model: AlertModel, examples: ExampleSet, batch: _Batch) -> tuple[torch.Tensor, torch.Tensor]:
    embeddings, present = [], []
    for name in model.modalities:
        tokens = examples.tokens[name]
        length = padded_lengths(int(tokens.lengths[batch.rows].max(initial=1)))[-1]
        values, mask = pad(tokens, batch.rows, batch=len(batch.rows), length=length)
        there = torch.from_numpy(mask)
        embeddings.append(model.encode(name, torch.from_numpy(values), there))
        present.append(there.any(dim=1))
    return torch.stack(embeddings, dim=1), torch.stack(present, dim=1)


def _validate(model: AlertModel, examples: ExampleSet) -> dict[str, float]:
    encoded = encode(model, examples.tokens)
    with torch.no_grad():
        logits = model.head(fuse(encoded.embeddings, encoded.present)).numpy()
    predicted = logits.argmax(axis=1)
    classes = np.unique(examples.label[examples.label >= 0])
    if len(classes) == 0:
        contrast = contrastive_loss(encoded.embeddings, encoded.present, model.scale().detach())
        return {"validation_contrast": round(contrast.item(), 4)}
    recall = [float((predicted[examples.label == each] == each).mean()) for each in classes]
    measures = {"balanced_accuracy": round(float(np.mean(recall)), 4)}
    is_odd = np.isin(examples.oddity, DISCOVERIES)
    if is_odd.any():
        surprise = surprise_of(model, encoded.fused()).sum(axis=1)
        ordinary = surprise[examples.oddity == Oddity.ORDINARY]
        measures["oddity_auroc"] = round(auroc(ordinary, surprise[is_odd]), 4)
    return measures


def _schedule(step: int, done: float, settings: TrainingSettings) -> float:
    """Return the share of the learning rate: a linear rise, then half a cosine down."""
    rise = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    return rise * max(0.01, 0.5 * (1 + math.cos(math.pi * done)))


def _groups(model: AlertModel, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Decay matrices only: biases, norms and the contrastive temperature are no weights to be kept small."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
