# SPDX-License-Identifier: BSD-3-Clause
"""Attention over the tokens of an alert, of which padding has no part.

Only row-wise kernels, as ONNX Runtime must give a row the same bits wherever in a batch it stands. The tokens
of a batch are rows of one matrix, (B * T, dim): ONNX Runtime then adds a bias and bends in the same kernel as
it multiplies, and passes over the numbers once.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from trainer.encoders.sizes import AttentionSizes

__all__ = ["AttentionLayer", "LoneLayer", "attended", "hiding", "linear", "wave"]

MASKED = -1e9
"""Score of a padded token. Its weight, exp of this, is exactly 0 in float32."""


class AttentionLayer(nn.Module):
    """Attention and a feed-forward net, each on normalised input and added to it."""

    def __init__(self, sizes: AttentionSizes) -> None:
        super().__init__()
        dim = sizes.model_dim
        self.heads = sizes.heads
        self.attention_norm, self.feedforward_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        self.value, self.output = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.feedforward = nn.Sequential(
            nn.Linear(dim, sizes.feedforward_dim),
            nn.ReLU(),
            nn.Dropout(sizes.dropout),
            nn.Linear(sizes.feedforward_dim, dim),
        )
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, states: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Return the next states (B * T, dim); `bias` (B, 1, 1, T) hides the padding."""
        batch, length, dim = bias.shape[0], bias.shape[3], states.shape[1]
        split = (batch, length, self.heads, dim // self.heads)
        normal = self.attention_norm(states)
        query = self.query(normal).reshape(split).transpose(1, 2)  # (B, H, T, dim / H)
        key = self.key(normal).reshape(split).permute(0, 2, 3, 1)  # (B, H, dim / H, T)
        value = self.value(normal).reshape(split).transpose(1, 2)
        scores = torch.matmul(query, key) * (1.0 / math.sqrt(dim // self.heads)) + bias
        mixed = torch.matmul(torch.softmax(scores, dim=3), value)
        mixed = self.output(mixed.transpose(1, 2).reshape(batch * length, dim))
        states = states + self.dropout(mixed)
        fed: torch.Tensor = self.dropout(self.feedforward(self.feedforward_norm(states)))
        return states + fed


class LoneLayer(nn.Module):
    """What is left of a finished layer at one token: to attend to itself is one linear map."""

    @torch.no_grad()
    def __init__(self, layer: AttentionLayer) -> None:
        super().__init__()
        value, output = layer.value, layer.output
        self.attention = linear(output.weight @ value.weight, output(value.bias))
        self.attention_norm, self.feedforward_norm = layer.attention_norm, layer.feedforward_norm
        self.feedforward = layer.feedforward

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the next states (B, dim)."""
        states = states + self.attention(self.attention_norm(states))
        fed: torch.Tensor = self.feedforward(self.feedforward_norm(states))
        return states + fed


def linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    """Return a linear map with these weights (outputs, inputs) and this bias."""
    made = nn.Linear(weight.shape[1], weight.shape[0])
    made.load_state_dict({"weight": weight, "bias": bias})
    return made


def hiding(weight: torch.Tensor) -> torch.Tensor:
    """Return the bias (B, 1, 1, T) of scores that hides the padding, from `weight` (B, T, 1)."""
    return ((1.0 - weight) * MASKED).transpose(1, 2).unsqueeze(1)


def attended(scores: torch.Tensor, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the tokens' values (B, dim) under learned weights, a set of weights for each head.

    Parameters
    ----------
    scores, values, weight
        Shapes (B * T, H), (B * T, dim) and (B, T, 1), the last 1 where a token is real.
    """
    (batch, length, _), heads, dim = weight.shape, scores.shape[1], values.shape[1]
    by_head = scores.reshape(batch, length, heads) + (1.0 - weight) * MASKED
    attention = torch.softmax(by_head.transpose(1, 2), dim=2).unsqueeze(2)  # (B, H, 1, T)
    value = values.reshape(batch, length, heads, dim // heads).transpose(1, 2)  # (B, H, T, dim / H)
    return torch.matmul(attention, value).reshape(batch, dim)


def wave(cycles: torch.Tensor) -> torch.Tensor:
    """Return a smooth wave of period and amplitude 1: parabolas in place of a sine."""
    offset = cycles - torch.floor(cycles) - 0.5
    return offset * (8.0 - 16.0 * offset.abs())
