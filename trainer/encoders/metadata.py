# SPDX-License-Identifier: BSD-3-Clause
"""Encoder of catalogue values: a small multi-layer perceptron over the single token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import nn

from broker_plugin.errors import ConfigurationError
from broker_plugin.features.modalities.metadata import TRANSFORMS, column_values
from broker_plugin.records import AlertBatch
from trainer.encoders.sizes import Sizes
from trainer.encoders.unit import unit

__all__ = ["SIZES", "MetadataEncoder", "MetadataSizes", "build", "fit_spec"]


class MetadataSizes(Sizes):
    """Sizes of the perceptron."""

    hidden_dim: int = Field(gt=0)


SIZES = MetadataSizes


def build(*, width: int, sizes: Mapping[str, Any]) -> nn.Module:
    """Return the encoder."""
    return MetadataEncoder(width, SIZES.read(sizes, modality="metadata"))


def fit_spec(spec: Mapping[str, Any], batch: AlertBatch) -> dict[str, Any]:
    """Return the spec with the mean and spread of each column over the training alerts that know it.

    A mean or spread that the configuration gives is kept. `transform` defaults to `identity`.

    Raises
    ------
    ConfigurationError
        If no training alert knows a column, or all have the same value.
    """
    columns = []
    for column in spec["columns"]:
        values, known = column_values(batch, column["name"], column.get("minus"))
        transform = column.get("transform", "identity")
        values = TRANSFORMS[transform](values[known])
        spread = float(values.std()) if len(values) else 0.0
        if not (spread > 0 or "std" in column):
            raise ConfigurationError(
                f"no training object varies in {column['name']}; leave it out of [modalities.metadata]"
            )
        fitted = {
            "transform": transform,
            "mean": round(float(values.mean()) if len(values) else 0.0, 6),
            "std": round(spread, 6),
        }
        columns.append(fitted | dict(column))
    return {**spec, "columns": columns}


class MetadataEncoder(nn.Module):
    """Catalogue values to a unit embedding."""

    def __init__(self, width: int, sizes: MetadataSizes) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, sizes.hidden_dim),
            nn.ReLU(),
            nn.Dropout(sizes.dropout),
            nn.Linear(sizes.hidden_dim, sizes.hidden_dim),
            nn.ReLU(),
            nn.Linear(sizes.hidden_dim, sizes.embedding_dim),
        )

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the embeddings (B, D) of tokens (B, T, F), of which `mask` (B, T) are real."""
        weight = mask.to(tokens.dtype).unsqueeze(2)
        return unit(self.layers((tokens * weight).sum(dim=1)))
