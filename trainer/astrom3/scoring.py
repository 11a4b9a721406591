# SPDX-License-Identifier: BSD-3-Clause
"""How good a classifier is: one of ours, or a published one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError
from trainer.astrom3.batches import gather, ordered
from trainer.astrom3.checkpoint import load_checkpoint
from trainer.astrom3.data import Objects, read_objects
from trainer.astrom3.model import Modality, Model, logits_of
from trainer.astrom3.preprocess import Padding
from trainer.astrom3.training import Running
from trainer.metrics import classification

__all__ = ["evaluate", "probabilities", "score_published"]


def evaluate(
    model: Model, objects: Objects, modality: Modality, *, running: Running, size: int = 64
) -> dict[str, float]:
    """Return accuracy, balanced accuracy, macro-F1 and calibration error of a classifier."""
    probability = probabilities(model, objects, modality, running=running, size=size)
    return classification(probability, objects.label, probability)


def probabilities(
    model: Model, objects: Objects, modality: Modality, *, running: Running, size: int = 64
) -> NDArray[np.float64]:
    """Return the class probabilities (B, C) of a classifier."""
    model.eval().to(running.device)
    parts = []
    with torch.no_grad():
        for members in ordered(objects, size):
            inputs = gather(objects, members, modality, padding=running.padding, device=running.device)
            parts.append(torch.softmax(logits_of(model, inputs).double(), dim=1).cpu())
    return torch.cat(parts).numpy()


def score_published(
    source: str, data: Path, config: str, *, device: str = "cpu"
) -> dict[Padding, dict[str, float]]:
    """Return how a published classifier does on the test split, under either convention of padding.

    The convention that its weights were trained with shows as the better accuracy; AstroM3-CLIP-all should
    reach 93.66 % on full_42 under its own.
    """
    model = load_checkpoint(source)
    if not model.config.classification:
        raise ConfigurationError(f"{source} has no classifier; score one of -photo, -spectra, -meta, -all")
    kinds: dict[str, Modality] = {
        "AstroM3": "all",
        "Informer": "photometry",
        "GalSpecNet": "spectra",
        "MetaModel": "metadata",
    }
    objects = read_objects(data, config, "test")
    conventions: tuple[Padding, ...] = ("gen-2", "gen-1")
    return {
        padding: evaluate(
            model, objects, kinds[type(model).__name__], running=Running(padding=padding, device=device)
        )
        for padding in conventions
    }
