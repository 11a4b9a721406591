# SPDX-License-Identifier: BSD-3-Clause
"""Bytes to scores, plainly: decode, prepare, encode, score and write each alert as the paper's code would."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from torch import nn

from broker_plugin.benchmark.corpus import schema_folder
from broker_plugin.benchmark.team import Counts, Work
from trainer.astrom3.config import PhotometryConfig
from trainer.astrom3.preprocess import light_curve_rows, window
from trainer.plain_pipeline.informer import PlainInformer
from trainer.plain_pipeline.packets import decoder, light_curve
from trainer.plain_pipeline.setup import CLASSES, DIMENSIONS, LENGTH, TREES

__all__ = ["open_plain_pipeline"]

FOREST_ROWS = 1024
"""Random embeddings that the forest is grown on; each tree draws 256 of them."""

SEED = 1


class _Model(nn.Module):
    """The photometry encoder, its projection into the common space, and a classifier on it."""

    def __init__(self) -> None:
        super().__init__()
        config = PhotometryConfig(seq_len=LENGTH, classification=False)
        self.encoder = PlainInformer(config)
        self.projection = nn.Linear(config.width, DIMENSIONS)
        self.fc = nn.Linear(DIMENSIONS, CLASSES)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedding = nn.functional.normalize(self.projection(self.encoder(tokens, mask)), dim=-1)
        return embedding, torch.softmax(self.fc(embedding), dim=-1)


def open_plain_pipeline(folder: Path) -> Work:
    """Return the pipeline as work of a team.

    Parameters
    ----------
    folder
        The corpora, with the schemas of framed messages.
    """
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    decode, model = decoder(schema_folder(folder)), _Model().eval()
    embeddings = np.random.default_rng(SEED).standard_normal((FOREST_ROWS, DIMENSIONS)).astype(np.float32)
    forest = IsolationForest(n_estimators=TREES, random_state=SEED, n_jobs=1)
    forest.fit(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))

    def work(values: Sequence[bytes]) -> Counts:
        curves = [light_curve(decode(value)) for value in values]
        inputs = [window(_rows(epochs), length=LENGTH) for _, _, epochs in curves]
        with torch.inference_mode():
            embedding, probabilities = model(
                *(torch.from_numpy(np.stack(part)) for part in zip(*inputs, strict=True))
            )
        scores = -forest.score_samples(embedding.numpy())
        lines = [
            _line(name, number, epochs, probability, score)
            for (name, number, epochs), probability, score in zip(
                curves, probabilities.numpy(), scores, strict=True
            )
        ]
        return Counts(verdicts=len(lines))

    return work


def _rows(epochs: NDArray[np.float64]) -> NDArray[np.float32]:
    days, flux, flux_err = epochs.T
    return light_curve_rows(days, flux, flux_err, np.zeros(4), guard=True)


def _line(
    name: str, number: int, epochs: NDArray[np.float64], probability: NDArray[np.float32], score: float
) -> bytes:
    verdict = {
        "alert_id": str(number),
        "object_id": name,
        "n_epochs": len(epochs),
        "class_probabilities": {f"class {c}": float(value) for c, value in enumerate(probability)},
        "top_class": f"class {int(probability.argmax())}",
        "anomaly_score": float(score),
    }
    return json.dumps(verdict).encode()
