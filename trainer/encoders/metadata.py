# SPDX-License-Identifier: BSD-3-Clause
"""Encoder of catalogue values: a small multi-layer perceptron over the single token."""

from __future__ import annotations

import torch
from torch import nn

from trainer.config import ModelSettings
from trainer.encoders.unit import unit

__all__ = ["MetadataEncoder", "build"]


def build(*, width: int, settings: ModelSettings) -> nn.Module:
    """Return the encoder."""
    return MetadataEncoder(width, settings)


class MetadataEncoder(nn.Module):
    """Catalogue values to a unit embedding."""

    def __init__(self, width: int, settings: ModelSettings) -> None:
        super().__init__()
        hidden = settings.metadata_hidden_dim
        self.layers = nn.Sequential(
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, settings.embedding_dim),
        )

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the embeddings (B, D) of tokens (B, T, F), of which `mask` (B, T) are real."""
        weight = mask.to(tokens.dtype).unsqueeze(2)
        return unit(self.layers((tokens * weight).sum(dim=1)))
