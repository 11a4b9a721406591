# SPDX-License-Identifier: BSD-3-Clause
"""The encoder of spectra: a convolutional network after GalSpecNet (Wu et al. 2024, MNRAS 527, 1163)."""

from __future__ import annotations

import torch
from torch import nn

from trainer.astrom3.config import SpectraConfig
from trainer.astrom3.dropout import CheapDropout

__all__ = ["GalSpecNet"]


class GalSpecNet(nn.Module):
    """Spectra on the paper's grid as features, or as class logits."""

    def __init__(self, config: SpectraConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        last = len(config.conv_channels) - 2
        for number, (before, after) in enumerate(
            zip(config.conv_channels[:-1], config.conv_channels[1:], strict=True)
        ):
            layers += [nn.Conv1d(before, after, config.kernel_size), nn.ReLU()]
            if number < last:
                layers.append(nn.MaxPool1d(config.mp_kernel_size))
        self.layers = nn.ModuleList(layers)
        self.dropout = CheapDropout(config.dropout)
        if config.classification:
            self.fc = nn.Linear(config.width, config.num_classes)

    def forward(self, spectra: torch.Tensor) -> torch.Tensor:
        """Return features (B, 1184), or logits (B, C) of a classifier, of spectra (B, 3, 2575)."""
        for layer in self.layers:
            spectra = layer(spectra)
        features: torch.Tensor = self.dropout(spectra.reshape(-1, self.config.width))
        return self.fc(features) if self.config.classification else features
