# SPDX-License-Identifier: BSD-3-Clause
"""What a model is trained for: which rows make a batch, what is minimised, what it is watched with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.config import PretrainingSettings, TrainingSettings
from trainer.inference import encode
from trainer.lengths import padded_lengths
from trainer.losses import contrastive_loss, pretraining_loss, total_loss
from trainer.metrics import auroc
from trainer.model import DISCOVERIES, AlertModel, fuse
from trainer.outliers import Oddity
from trainer.pairs import draw_pairs
from trainer.sets import ExampleSet

__all__ = ["Batch", "Contrastive", "Joint", "Supervised", "Task"]

BATCH_MIN = 16
"""Fewest stars of a batch: a contrast among fewer says next to nothing."""

VALIDATION_STARS_MAX = 1000
"""Stars that pre-training is watched with, the same in all passes: a contrast grows with their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows of a set. The first `n_stars` are of different stars; see `pretraining_loss` for the others."""

    rows: NDArray[np.intp]
    n_stars: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """A batch as the encoders see it, with the rows of all processes.

    Parameters
    ----------
    embeddings, present, label, oddity
        Shapes (B, K, D), (B, K), (B,) and (B,).
    draws
        Random numbers that all processes share; None for torch's own.
    """

    embeddings: torch.Tensor
    present: torch.Tensor
    label: torch.Tensor
    oddity: torch.Tensor
    n_stars: int
    draws: torch.Generator | None


class Task(Protocol):
    """One kind of training."""

    @property
    def settings(self) -> TrainingSettings:
        """How it is trained."""
        ...

    def examples(self, number: int) -> ExampleSet:
        """Return the set of a pass."""
        ...

    def batches(self, examples: ExampleSet, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield the batches of a pass, in the order that they are trained on."""
        ...

    def loss(self, model: AlertModel, joint: Joint) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of a batch and its parts."""
        ...

    def validate(self, model: AlertModel) -> dict[str, float]:
        """Return what is watched."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised:
    """Classes, from the fusion and from every modality alone; jointly with contrast, by its weight.

    Parameters
    ----------
    train_set
        Gives the set of a pass.
    """

    settings: TrainingSettings
    train_set: Callable[[int], ExampleSet]
    validation: ExampleSet

    def examples(self, number: int) -> ExampleSet:
        """Return the set of a pass."""
        return self.train_set(number)

    def batches(self, examples: ExampleSet, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield batches of alerts of similar length in random order."""
        for rows in _batches(_longest(examples), self.settings, rng):
            yield Batch(rows=rows, n_stars=len(rows))

    def loss(self, model: AlertModel, joint: Joint) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of a batch and its parts."""
        return total_loss(
            model,
            joint.embeddings,
            joint.present,
            joint.label,
            joint.oddity,
            self.settings,
            draws=joint.draws,
        )

    @torch.no_grad()
    def validate(self, model: AlertModel) -> dict[str, float]:
        """Return the balanced accuracy of the fusion; without any label, the contrast."""
        encoded, label = encode(model, self.validation.tokens), self.validation.label
        classes = np.unique(label[label >= 0])
        if len(classes) == 0:
            contrast = contrastive_loss(encoded.embeddings, encoded.present, model.scale().cpu())
            return {"validation_contrast": round(contrast.item(), 4)}
        fused = fuse(encoded.embeddings, encoded.present).to(model.logit_scale.device)
        predicted = model.head(fused).argmax(dim=1).cpu().numpy()
        recall = [float((predicted[label == each] == each).mean()) for each in classes]
        measures = {"balanced_accuracy": round(float(np.mean(recall)), 4)}
        is_odd = np.isin(self.validation.oddity, DISCOVERIES)
        if is_odd.any():
            surprise = model.head.surprise(fused).sum(dim=1).double().cpu().numpy()
            ordinary = surprise[self.validation.oddity == Oddity.ORDINARY]
            measures["oddity_auroc"] = round(auroc(ordinary, surprise[is_odd]), 4)
        return measures


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrastive:
    """Contrast alone, between modalities and between two windows of a star; no label is looked at.

    Parameters
    ----------
    pool, validation
        Several windows of each star.
    seed
        Of the windows that are held against each other in validation, the same in every pass.
    """

    settings: TrainingSettings
    weights: PretrainingSettings
    pool: ExampleSet
    validation: ExampleSet
    seed: int

    def examples(self, number: int) -> ExampleSet:
        """Return the windows of all stars, the same in every pass."""
        return self.pool

    def batches(self, examples: ExampleSet, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield batches of stars, each with two windows of similar length if it has them."""
        pairs = draw_pairs(examples, rng)
        longest = _longest(examples)
        of_star = longest[pairs.first]
        of_star[: len(pairs.second)] = np.maximum(of_star[: len(pairs.second)], longest[pairs.second])
        for stars in _batches(of_star, self.settings, rng, windows=2):
            yield Batch(rows=pairs.take(stars).rows, n_stars=len(stars))

    def loss(self, model: AlertModel, joint: Joint) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of a batch and its parts."""
        return pretraining_loss(model, joint.embeddings, joint.present, joint.n_stars, self.weights)

    @torch.no_grad()
    def validate(self, model: AlertModel) -> dict[str, float]:
        """Return both contrasts among the validation stars."""
        pairs = draw_pairs(self.validation, np.random.default_rng((self.seed, 15)))
        pairs = pairs.take(np.arange(min(len(pairs.first), VALIDATION_STARS_MAX)))
        encoded = encode(model, self.validation.take(pairs.rows).tokens)
        device = model.logit_scale.device
        _, parts = pretraining_loss(
            model,
            encoded.embeddings.to(device),
            encoded.present.to(device),
            len(pairs.first),
            self.weights,
        )
        return {f"validation_{name}": round(value, 4) for name, value in parts.items()}


def _longest(examples: ExampleSet) -> NDArray[np.int64]:
    """Return the most tokens that a modality has in each row (B,)."""
    longest: NDArray[np.int64] = np.max([tokens.lengths for tokens in examples.tokens.values()], axis=0)
    return longest


def _batches(
    lengths: NDArray[np.int64],
    settings: TrainingSettings,
    rng: np.random.Generator,
    *,
    windows: int = 1,
) -> Iterator[NDArray[np.intp]]:
    """Yield stars of similar length in random order, each of which puts so many windows into its batch."""
    made = []
    shorter = 0
    for length in padded_lengths(int(lengths.max(initial=0))):
        stars = rng.permutation(np.flatnonzero((lengths > shorter) & (lengths <= length)))
        size = max(BATCH_MIN, min(settings.batch_max, settings.tokens_per_batch // length) // windows)
        made += [stars[start : start + size] for start in range(0, len(stars), size)]
        shorter = length
    for position in rng.permutation(len(made)):
        yield made[position]
