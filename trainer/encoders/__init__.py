# SPDX-License-Identifier: BSD-3-Clause
"""One file a modality: tokens and mask to a unit embedding. Each defines `build(width, settings)`."""

from __future__ import annotations

import importlib

from torch import nn

from trainer.config import ModelSettings

__all__ = ["build_encoder"]


def build_encoder(name: str, *, width: int, settings: ModelSettings) -> nn.Module:
    """Return the encoder of a modality: `forward(tokens (B, T, F), mask (B, T)) -> embedding (B, D)`."""
    module = importlib.import_module(f"{__name__}.{name}")
    encoder: nn.Module = module.build(width=width, settings=settings)
    return encoder
