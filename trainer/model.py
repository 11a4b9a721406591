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
from trainer.outliers import Oddity

__all__ = [
    "DISCOVERIES",
    "DOUBT",
    "EPOCH_MODALITIES",
    "AlertModel",
    "Head",
    "fuse",
    "possible_subsets",
    "subsets",
]

Spec = Mapping[str, object]

DISCOVERIES = (Oddity.TWO_PERIODS, Oddity.OTHER_PERIOD, Oddity.EVENT)
"""Oddities that an astronomer wants to hear of."""

NEVER = -1e4
"""Added to a log probability to leave it out of a sum."""

LOGIT_SCALE_INITIAL = math.log(1 / 0.07)
LOGIT_SCALE_MAX = math.log(100.0)
"""The contrastive temperature starts well below its ceiling: at the ceiling its gradient is zero."""


DOUBT = "doubt"
"""Name of the last axis of the space of surprise: how little the likeliest class is trusted."""


class Head(nn.Module):
    """Classifier over the fused embedding, and if wanted a second one that tells what is odd about it.

    The classes are learned from a sample with other shares than theirs (`tempered`); `log_prior` shifts
    the logits to the frequencies that the bundle names and `log_even` to equal ones, which for a classifier
    of calibrated odds is Bayes' rule.

    Parameters
    ----------
    n_oddities
        Outputs of the second classifier, `trainer.outliers.Oddity` in order; 0 for none.
    """

    log_prior: torch.Tensor
    log_even: torch.Tensor

    def __init__(self, n_classes: int, settings: ModelSettings, *, n_oddities: int = 0) -> None:
        super().__init__()
        self.layers = _classifier(n_classes, settings)
        self.oddity = _classifier(n_oddities, settings) if n_oddities else None
        self.register_buffer("log_prior", torch.zeros(n_classes))
        self.register_buffer("log_even", torch.zeros(n_classes))

    def forward(self, fused: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, C) for the shares of the training sample."""
        logits: torch.Tensor = self.layers(fused)
        return logits

    def surprise(self, fused: torch.Tensor) -> torch.Tensor:
        """Return the coordinates (B, S) that isolation forests work in: all at 0 for what is quite ordinary.

        For each oddity but faults of the instrument, minus the logarithm of the probability that it is not
        there; and the same that the likeliest class is right. A fault takes probability from the others, so
        what it explains is no surprise.
        """
        if self.oddity is None:
            return fused
        odd = torch.log_softmax(self.oddity(fused), dim=1)
        n = odd.shape[1]
        without = odd.unsqueeze(1) + torch.eye(n, dtype=odd.dtype, device=odd.device) * NEVER
        absent = -torch.logsumexp(without, dim=2)[:, [int(each) for each in DISCOVERIES]]
        doubt = -torch.log_softmax(self.layers(fused) + self.log_prior, dim=1).amax(dim=1, keepdim=True)
        return torch.cat([absent, doubt], dim=1)


def _classifier(n_outputs: int, settings: ModelSettings) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(settings.embedding_dim, settings.head_hidden_dim),
        nn.ReLU(),
        nn.Dropout(settings.dropout),
        nn.Linear(settings.head_hidden_dim, n_outputs),
    )


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
        self.head = Head(n_classes, settings.model, n_oddities=len(Oddity) if settings.data.odd_share else 0)
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


EPOCH_MODALITIES = frozenset({"photometry", "light_curve"})
"""Modalities that every alert with an epoch has, and no other alert."""


def possible_subsets(modalities: Sequence[str], *, with_epochs: bool) -> list[tuple[int, ...]]:
    """Return the subsets of the modalities that an alert with or without epochs can have.

    Examples
    --------
    >>> possible_subsets(("light_curve", "metadata"), with_epochs=True)
    [(0,), (0, 1)]
    """
    of_epochs = {k for k, name in enumerate(modalities) if name in EPOCH_MODALITIES}
    wanted = of_epochs if with_epochs else set()
    return [subset for subset in subsets(len(modalities)) if of_epochs & set(subset) == wanted]


def subsets(n: int) -> Sequence[tuple[int, ...]]:
    """Return every subset of `n` modalities, the empty one included.

    Examples
    --------
    >>> subsets(2)
    [(), (0,), (1,), (0, 1)]
    """
    return [tuple(k for k in range(n) if code >> k & 1) for code in range(2**n)]
