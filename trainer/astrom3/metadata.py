# SPDX-License-Identifier: BSD-3-Clause
"""The encoder of catalogue columns: a perceptron."""

from __future__ import annotations

import torch
from torch import nn

from trainer.astrom3.config import MetadataConfig
from trainer.astrom3.dropout import CheapDropout

__all__ = ["MetaModel"]


class MetaModel(nn.Module):
    """Scaled catalogue columns as features, or as class logits."""

    def __init__(self, config: MetadataConfig) -> None:
        super().__init__()
        self.config = config
        self.model = nn.Sequential(
            nn.Linear(config.input_dim, config.hidden_dim),
            nn.ReLU(),
            CheapDropout(config.dropout),
            nn.Linear(config.hidden_dim, config.hidden_dim),
            nn.ReLU(),
            CheapDropout(config.dropout),
        )
        if config.classification:
            self.fc = nn.Linear(config.hidden_dim, config.num_classes)

    def forward(self, metadata: torch.Tensor) -> torch.Tensor:
        """Return features (B, 512), or logits (B, C) of a classifier, of columns (B, 34)."""
        features: torch.Tensor = self.model(metadata)
        return self.fc(features) if self.config.classification else features
