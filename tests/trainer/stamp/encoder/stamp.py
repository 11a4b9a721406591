# SPDX-License-Identifier: BSD-3-Clause
"""Encoder of the test's fourth modality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from trainer.encoders.sizes import Sizes
from trainer.encoders.unit import unit


class StampSizes(Sizes):
    """Sizes of the encoder."""

    hidden_dim: int


def build(*, width: int, sizes: Mapping[str, Any]) -> nn.Module:
    """Return the encoder."""
    return StampEncoder(width, StampSizes.read(sizes, modality="stamp"))


class StampEncoder(nn.Module):
    """Pixels to a unit embedding."""

    def __init__(self, width: int, sizes: StampSizes) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, sizes.hidden_dim), nn.ReLU(), nn.Linear(sizes.hidden_dim, sizes.embedding_dim)
        )

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the embeddings (B, D) of tokens (B, T, F), of which `mask` (B, T) are real."""
        return unit(self.layers((tokens * mask.to(tokens.dtype).unsqueeze(2)).sum(dim=1)))
