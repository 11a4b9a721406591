# SPDX-License-Identifier: BSD-3-Clause
"""Encoder of spectra: attention over the patches that were measured, pooled.

The constraints are those of `trainer/encoders/photometry.py`: row-wise kernels only, so a patch's pixels are
mixed by a matrix instead of a convolution, and its place on the grid enters as smooth waves of parabolas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from broker_plugin.features.modalities.spectrum import CHANNELS
from trainer.encoders.attention import AttentionLayer, attended, hiding, wave
from trainer.encoders.sizes import AttentionSizes
from trainer.encoders.unit import unit

__all__ = ["SIZES", "SpectrumEncoder", "build"]

POSITION = CHANNELS.index("position")

WAVES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Waves of the position along the grid, in cycles over its whole length: the shortest spans four patches,
below which their pixels take over."""


SIZES = AttentionSizes


def build(*, width: int, sizes: Mapping[str, Any]) -> nn.Module:
    """Return the encoder."""
    return SpectrumEncoder(width, SIZES.read(sizes, modality="spectrum"))


class SpectrumEncoder(nn.Module):
    """Spectrum tokens to a unit embedding; patches that were not measured are not there."""

    frequency: torch.Tensor

    def __init__(self, width: int, sizes: AttentionSizes) -> None:
        super().__init__()
        dim = sizes.model_dim
        self.embed = nn.Sequential(nn.Linear(width + 2 * len(WAVES), dim), nn.ReLU(), nn.Linear(dim, dim))
        self.layers = nn.ModuleList([AttentionLayer(sizes) for _ in range(sizes.layers)])
        self.norm = nn.LayerNorm(dim)
        self.pool = nn.Linear(dim, sizes.heads)
        self.value = nn.Linear(dim, dim)
        self.project = nn.Sequential(
            nn.Linear(2 * dim, 2 * dim),
            nn.ReLU(),
            nn.Dropout(sizes.dropout),
            nn.Linear(2 * dim, sizes.embedding_dim),
        )
        self.register_buffer("frequency", torch.tensor(WAVES), persistent=False)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the embeddings (B, D) of tokens (B, T, F), of which `mask` (B, T) are real."""
        batch, length, _ = tokens.shape
        weight = mask.to(tokens.dtype).unsqueeze(2)  # (B, T, 1)
        cycles = tokens[:, :, POSITION : POSITION + 1] * self.frequency
        states = self.embed(torch.cat([tokens, wave(cycles), wave(cycles + 0.25)], dim=2)) * weight
        states, bias = states.reshape(batch * length, -1), hiding(weight)
        for layer in self.layers:
            states = layer(states, bias)
        states = self.norm(states)
        mean = (states.reshape(batch, length, -1) * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1.0)
        pooled = attended(self.pool(states), self.value(states), weight)
        return unit(self.project(torch.cat([pooled, mean], dim=1)))
