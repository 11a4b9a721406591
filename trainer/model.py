# SPDX-License-Identifier: BSD-3-Clause
"""The model `astrom3-alert`: one encoder a modality into one space, their fusion, and a classifier on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from broker_plugin.features.base import build_modality
from trainer.config import ModelSettings, Settings
from trainer.encoders import build_encoder
from trainer.encoders.unit import unit

__all__ = ["AlertModel", "Head", "fuse", "subsets"]

Spec = Mapping[str, object]

LOGIT_SCALE_INITIAL = math.log(1 / 0.07)
LOGIT_SCALE_MAX = math.log(100.0)
"""The contrastive temperature starts well below its ceiling: at the ceiling its gradient is zero."""


class Head(nn.Module):
    """Classifier over the fused embedding.

    The classes are learned from a sample with equal shares; `log_prior` then shifts the logits to the
    frequencies that the bundle names, which for a classifier of calibrated odds is Bayes' rule.
    """

    log_prior: torch.Tensor

    def __init__(self, n_classes: int, settings: ModelSettings) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(settings.embedding_dim, settings.head_hidden_dim),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.head_hidden_dim, n_classes),
        )
        self.register_buffer("log_prior", torch.zeros(n_classes))

    def forward(self, fused: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, C) for classes of equal frequency."""
        logits: torch.Tensor = self.layers(fused)
        return logits


class AlertModel(nn.Module):
    """Encoders, contrastive temperature and classifier, for any number of modalities.

    Parameters
    ----------
    specs
        Spec of the preprocessing of each modality, in the order of the embeddings.
    """

    def __init__(self, specs: Mapping[str, Spec], n_classes: int, settings: Settings) -> None:
        super().__init__()
        self.modalities = tuple(specs)
        self.embedding_dim = settings.model.embedding_dim
        self.encoders = nn.ModuleDict(
            {
                name: build_encoder(name, width=build_modality(name, spec).width, settings=settings)
                for name, spec in specs.items()
            }
        )
        self.head = Head(n_classes, settings.model)
        self.logit_scale = nn.Parameter(torch.tensor(LOGIT_SCALE_INITIAL))

    def encode(self, name: str, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return unit embeddings (B, D) of one modality, zero where an alert lacks it."""
        embedding: torch.Tensor = self.encoders[name](tokens, mask)
        return embedding * mask.any(dim=1, keepdim=True)

    def scale(self) -> torch.Tensor:
        """Return the factor of the cosines in the contrastive loss."""
        return self.logit_scale.clamp(max=LOGIT_SCALE_MAX).exp()


def fuse(embeddings: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Return the mean of the present embeddings, of length one again.

    Parameters
    ----------
    embeddings, present
        Shapes (B, K, D) and (B, K).
    """
    weight = present.to(embeddings.dtype).unsqueeze(2)
    return unit((embeddings * weight).sum(dim=1))


def subsets(n: int) -> Sequence[tuple[int, ...]]:
    """Return every subset of `n` modalities, the empty one included.

    Examples
    --------
    >>> subsets(2)
    [(), (0,), (1,), (0, 1)]
    """
    return [tuple(k for k in range(n) if code >> k & 1) for code in range(2**n)]
