# SPDX-License-Identifier: BSD-3-Clause
"""The training loop.

Everything random follows from the seed and the number of the pass, so that a run that was stopped goes on
with the very same numbers.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from broker_plugin.features.base import pad
from trainer.checkpoint import LOG, POOL_VERSION, Run, new_model, resume, save_checkpoint, training_key
from trainer.compute import Compute
from trainer.config import TrainingSettings
from trainer.lengths import padded_lengths
from trainer.model import AlertModel
from trainer.pretrained import Pretrained
from trainer.sets import ExampleSet
from trainer.tasks import Batch, Contrastive, Joint, Supervised, Task

__all__ = ["Log", "finetune", "pretrain", "train"]

GRADIENT_NORM_MAX = 1.0
"""Longest gradient; a rare batch of wild light curves would else undo a hundred steps."""

RANK_SEED = 1_000_000_007
"""Between the seeds of two processes' dropout: beyond those of any pass."""

Log = Callable[[Mapping[str, Any]], None]


def _unheard(record: Mapping[str, Any]) -> None:
    """Log nothing."""


def train(
    run: Run,
    folder: Path,
    train_set: Callable[[int], ExampleSet],
    validation: ExampleSet,
    *,
    compute: Compute | None = None,
    on_pass: Log = _unheard,
    on_step: Log = _unheard,
) -> AlertModel:
    """Train a model for contrast and classes at once, or go on with one that was stopped, and return it.

    Parameters
    ----------
    folder
        Where checkpoints and the log go: one line of JSON a pass.
    train_set
        Gives the set of a number.
    on_pass, on_step
        Called with the record of every finished pass and step.
    """
    task = Supervised(settings=run.settings.training, train_set=train_set, validation=validation)
    return _train(run, folder, task=task, compute=compute, on_pass=on_pass, on_step=on_step)


def pretrain(
    run: Run,
    folder: Path,
    pool: ExampleSet,
    validation: ExampleSet,
    *,
    compute: Compute | None = None,
    on_pass: Log = _unheard,
    on_step: Log = _unheard,
) -> AlertModel:
    """Train the encoders by contrast alone, or go on with a training that was stopped; needs no labels.

    Parameters
    ----------
    folder, on_pass, on_step
        As for `train`.
    pool, validation
        Several windows of each star, whose labels are not looked at.
    """
    weights = run.settings.pretraining
    own: dict[str, float] = {"passes": weights.passes}
    if weights.learning_rate is not None:
        own |= {"learning_rate": weights.learning_rate}
    task = Contrastive(
        settings=run.settings.training.model_copy(update=own),
        weights=weights,
        pool=pool,
        validation=validation,
        seed=run.settings.training_seed,
    )
    more = ("pretrain", POOL_VERSION, weights.model_dump_json())
    return _train(run, folder, task=task, more=more, compute=compute, on_pass=on_pass, on_step=on_step)


def finetune(
    run: Run,
    folder: Path,
    train_set: Callable[[int], ExampleSet],
    validation: ExampleSet,
    *,
    start: Pretrained | None,
    compute: Compute | None = None,
    on_pass: Log = _unheard,
    on_step: Log = _unheard,
) -> AlertModel:
    """Train for the classes alone, or go on with a training that was stopped, and return the model.

    Parameters
    ----------
    folder, train_set, validation, on_pass, on_step
        As for `train`.
    start
        Where the encoders begin; None for random weights.
    """
    task = Supervised(
        settings=run.settings.training.model_copy(update={"clip_weight": 0.0}),
        train_set=train_set,
        validation=validation,
    )
    more = ("finetune", "" if start is None else start.digest)
    return _train(
        run, folder, task=task, more=more, start=start, compute=compute, on_pass=on_pass, on_step=on_step
    )


class _LossOf(nn.Module):
    """From the tokens of a process's rows to the loss of the joint batch: the part that is distributed."""

    def __init__(self, model: AlertModel, task: Task, compute: Compute) -> None:
        super().__init__()
        self.model = model
        self._task, self._compute = task, compute

    def forward(
        self, examples: ExampleSet, batch: Batch, draws: torch.Generator | None
    ) -> tuple[torch.Tensor, dict[str, float]]:
        compute = self._compute
        embeddings, present = [], []
        with compute.autocast():
            for name in self.model.modalities:
                values, mask = _tokens(examples, name, batch.rows, compute)
                embeddings.append(self.model.encode(name, values, mask))
                present.append(torch.from_numpy(examples.tokens[name].lengths[batch.rows] > 0))
        part = torch.stack(embeddings, dim=1).float()
        joint = Joint(
            embeddings=compute.gather(part, len(batch.rows)),
            present=torch.stack(present, dim=1).to(compute.device),
            label=torch.from_numpy(examples.label[batch.rows]).to(compute.device),
            oddity=torch.from_numpy(examples.oddity[batch.rows].astype(np.int64)).to(compute.device),
            n_stars=batch.n_stars,
            draws=draws,
        )
        return self._task.loss(self.model, joint)


def _train(
    run: Run,
    folder: Path,
    *,
    task: Task,
    more: Sequence[str] = (),
    start: Pretrained | None = None,
    compute: Compute | None,
    on_pass: Log,
    on_step: Log,
) -> AlertModel:
    compute = compute or Compute.alone(task.settings)
    torch.set_num_threads(task.settings.threads)
    model = new_model(run)
    if start is not None:
        start.begin(model)
    model.to(compute.device)
    optimiser = torch.optim.AdamW(_groups(model, task.settings), lr=task.settings.learning_rate)
    key = training_key(run, *more)
    progress = resume(key, model, optimiser, folder, passes=task.settings.passes)
    progress = progress or {"passes": 0, "steps": 0}
    loss_of = compute.distribute(_LossOf(model, task, compute))
    for number in range(progress["passes"], task.settings.passes):
        started = time.monotonic()
        one = _Pass(
            number=number,
            seed=run.settings.training_seed,
            task=task,
            compute=compute,
            model=model,
            loss_of=loss_of,
        )
        losses = one.run(optimiser, progress, on_step)
        if not compute.first:
            continue
        record = {
            "pass": number + 1,
            "steps": progress["steps"],
            **{name: round(value, 5) for name, value in losses.items()},
            **task.validate(model),
            "scale": round(model.scale().item(), 3),
            "seconds": round(time.monotonic() - started, 1),
        }
        save_checkpoint(key, model, optimiser, progress, folder)
        with (folder / LOG).open("a") as file:
            file.write(json.dumps(record) + "\n")
        on_pass(record)
    return model.cpu().eval()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """One pass over a set."""

    number: int
    seed: int
    task: Task
    compute: Compute
    model: AlertModel
    loss_of: nn.Module

    def run(
        self, optimiser: torch.optim.Optimizer, progress: dict[str, int], on_step: Log
    ) -> dict[str, float]:
        """Take a step a batch, count them, and return the means of the loss's parts and the rows' number."""
        settings = self.task.settings
        seed = self.seed + 1000 * self.number
        # Each process has its own dropout; what the joint loss draws is the same for all.
        torch.manual_seed(seed + RANK_SEED * self.compute.rank)
        draws = torch.Generator().manual_seed(seed) if self.compute.ranks > 1 else None
        examples = self.task.examples(self.number)
        batches = list(self.task.batches(examples, np.random.default_rng((self.seed, 4, self.number))))
        n_rows = sum(len(batch.rows) for batch in batches)
        sums: dict[str, float] = {"alerts": n_rows}
        self.model.train()
        for position, batch in enumerate(batches):
            passes = self.number + position / len(batches)
            rate = settings.learning_rate * _schedule(progress["steps"], passes / settings.passes, settings)
            for group in optimiser.param_groups:
                group["lr"] = rate
            loss, parts = self.loss_of(examples, batch, draws)
            if not loss.requires_grad:
                # A single alert without a class: there is nothing to tell it from.
                continue
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM_MAX)
            optimiser.step()
            progress["steps"] += 1
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value * len(batch.rows) / n_rows
            on_step({"steps": progress["steps"], "passes": passes, "learning_rate": rate, **parts})
        progress["passes"] = self.number + 1
        return sums


def _tokens(
    examples: ExampleSet, name: str, rows: NDArray[np.intp], compute: Compute
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return this process's tokens of a batch and their mask, padded to one shape in all processes."""
    tokens = examples.tokens[name]
    length = padded_lengths(int(tokens.lengths[rows].max(initial=1)))[-1]
    own, size = compute.share(rows)
    values, mask = pad(tokens, own, batch=size, length=length)
    return torch.from_numpy(values).to(compute.device), torch.from_numpy(mask).to(compute.device)


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
