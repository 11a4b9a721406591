# SPDX-License-Identifier: BSD-3-Clause
"""Encoder of light curves in a few tokens: attention between what sums them up and their candidate periods.

Which candidate is the period shows only in the company of the others, so they look at one another before
they are pooled. Only row-wise kernels, as in the other encoders.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from broker_plugin.features.modalities.light_curve import SUMMARY_WIDTH, LightCurveTokens
from broker_plugin.features.period import find_periods
from broker_plugin.records import AlertBatch
from trainer.encoders.attention import AttentionLayer, LoneLayer, attended, hiding, linear
from trainer.encoders.sizes import AttentionSizes
from trainer.encoders.unit import unit

__all__ = ["SIZES", "LightCurveEncoder", "LoneSummary", "build", "fit_spec"]

LEAST_STD = 1e-3
"""A channel that hardly varies among the training alerts is not blown up."""


SIZES = AttentionSizes


def build(*, width: int, sizes: Mapping[str, Any]) -> nn.Module:
    """Return the encoder."""
    return LightCurveEncoder(width, SIZES.read(sizes, modality="light_curve"))


def fit_spec(spec: Mapping[str, Any], batch: AlertBatch) -> dict[str, Any]:
    """Return the spec with mean and spread of each channel over the training alerts' tokens that use it."""
    width = LightCurveTokens(np.zeros(1), np.ones(1)).width
    raw = LightCurveTokens(np.zeros(width), np.ones(width)).tokens(batch, find_periods(batch))
    first = np.zeros(len(raw.values), np.bool_)
    first[raw.offsets[:-1][raw.lengths > 0]] = True
    parts = [raw.values[first, :SUMMARY_WIDTH], raw.values[~first, SUMMARY_WIDTH:]]
    mean = np.concatenate([part.mean(axis=0) for part in parts])
    std = np.concatenate([np.maximum(part.std(axis=0), LEAST_STD) for part in parts])
    return {**spec, "mean": np.round(mean, 5).tolist(), "std": np.round(std, 5).tolist()}


class LightCurveEncoder(nn.Module):
    """A summary token and candidate tokens to a unit embedding."""

    def __init__(self, width: int, sizes: AttentionSizes) -> None:
        super().__init__()
        dim = sizes.model_dim
        self.summary = _embedding(SUMMARY_WIDTH, dim, sizes.dropout)
        self.candidate = _embedding(width - SUMMARY_WIDTH, dim, sizes.dropout)
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

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the embeddings (B, D) of tokens (B, T, F), of which `mask` (B, T) are real."""
        batch, length, width = tokens.shape
        weight = mask.to(tokens.dtype).unsqueeze(2)  # (B, T, 1)
        first = self.summary(tokens[:, 0, :SUMMARY_WIDTH])
        dim = first.shape[1]
        others = tokens[:, 1:, SUMMARY_WIDTH:].reshape(batch * (length - 1), width - SUMMARY_WIDTH)
        others = self.candidate(others).reshape(batch, length - 1, dim)
        states = (torch.cat([first.unsqueeze(1), others], dim=1) * weight).reshape(batch * length, dim)
        bias = hiding(weight)
        for layer in self.layers:
            states = layer(states, bias)
        states = self.norm(states)
        pooled = attended(self.pool(states), self.value(states), weight)
        return unit(self.project(torch.cat([states.reshape(batch, length, dim)[:, 0], pooled], dim=1)))

    def lone(self) -> nn.Module:
        """Return this encoder for alerts whose only token is the summary: tokens (B, 1, F), mask (B, 1)."""
        return LoneSummary(self)


class LoneSummary(nn.Module):
    """What is left of a finished encoder at one token: pooling, too, is one linear map, of its values.

    It differs from the encoder by rounding and takes two fifths of the time.
    """

    @torch.no_grad()
    def __init__(self, encoder: LightCurveEncoder) -> None:
        super().__init__()
        hidden, value = cast("nn.Linear", encoder.project[0]), encoder.value
        of_first, of_pooled = hidden.weight.chunk(2, dim=1)
        pooled = linear(of_first + of_pooled @ value.weight, hidden.bias + of_pooled @ value.bias)
        self.summary, self.norm = encoder.summary, encoder.norm
        self.layers = nn.ModuleList(LoneLayer(cast("AttentionLayer", layer)) for layer in encoder.layers)
        self.project = nn.Sequential(pooled, *encoder.project[1:])

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the embeddings (B, D) of tokens (B, 1, F), of which `mask` (B, 1) are real."""
        states = self.summary(tokens[:, 0, :SUMMARY_WIDTH]) * mask.to(tokens.dtype)
        for layer in self.layers:
            states = layer(states)
        return unit(self.project(self.norm(states)))


def _embedding(width: int, dim: int, dropout: float) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 2 * dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim))
