# SPDX-License-Identifier: BSD-3-Clause
"""The encoder of light curves: an Informer without distilling, its rows laid side by side at the end."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from trainer.astrom3.attention import ProbSparseAttention, Sampling
from trainer.astrom3.config import PhotometryConfig
from trainer.astrom3.dropout import CheapDropout

__all__ = ["Informer"]

EMBEDDING_DROPOUT = 0.1
"""Dropout after the embedding: fixed in the original, whatever its config.json says."""

POSITIONS_MAX = 5000
"""Rows of the position table. Only the first 200 are used, but the checkpoints carry all of them."""


class Informer(nn.Module):
    """Light curves as features of all rows, or as class logits.

    Parameters
    ----------
    sampling
        How attention chooses its queries; see `trainer.astrom3.attention`.
    """

    def __init__(self, config: PhotometryConfig, *, sampling: Sampling = "deterministic") -> None:
        super().__init__()
        self.config = config
        self.enc_embedding = _Embedding(config)
        self.encoder = _Encoder(config, sampling)
        self.dropout = CheapDropout(config.dropout)
        if config.classification:
            self.fc = nn.Linear(config.width, config.num_classes)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return features (B, L * D), zero in padded rows, or logits (B, C) of a classifier.

        Parameters
        ----------
        tokens
            Rows of the light curve (B, L, 9).
        mask
            1 for observed rows, 0 for padding (B, L); it blanks the output only.
        """
        rows = self.dropout(self.encoder(self.enc_embedding(tokens)))
        features: torch.Tensor = (rows * mask.unsqueeze(-1)).reshape(-1, self.config.width)
        return self.fc(features) if self.config.classification else features


class _Embedding(nn.Module):
    def __init__(self, config: PhotometryConfig) -> None:
        super().__init__()
        self.value_embedding = _TokenEmbedding(config)
        self.position_embedding = _PositionEmbedding(config.d_model)
        self.dropout = CheapDropout(EMBEDDING_DROPOUT)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        embedded = self.value_embedding(tokens) + self.position_embedding(tokens.shape[1])
        out: torch.Tensor = self.dropout(embedded)
        return out


class _TokenEmbedding(nn.Module):
    """A convolution over neighbouring rows; it wraps around, so the first row sees the last."""

    def __init__(self, config: PhotometryConfig) -> None:
        super().__init__()
        self.tokenConv = nn.Conv1d(
            config.enc_in, config.d_model, 3, padding=1, padding_mode="circular", bias=False
        )
        # As in the Informer of Zhou et al. (2021), from which the authors started.
        nn.init.kaiming_normal_(self.tokenConv.weight, mode="fan_in", nonlinearity="leaky_relu")

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self.tokenConv(tokens.transpose(1, 2)).transpose(1, 2)
        return embedded


class _PositionEmbedding(nn.Module):
    """Fixed sines and cosines of the number of the row."""

    pe: torch.Tensor

    def __init__(self, d_model: int) -> None:
        super().__init__()
        position = torch.arange(POSITIONS_MAX, dtype=torch.float32).unsqueeze(1)
        rate = torch.exp(torch.arange(0, d_model, 2).float() * -(math.log(10_000.0) / d_model))
        table = torch.stack([torch.sin(position * rate), torch.cos(position * rate)], dim=2)
        self.register_buffer("pe", table.reshape(1, POSITIONS_MAX, d_model))

    def forward(self, length: int) -> torch.Tensor:
        return self.pe[:, :length]


class _Encoder(nn.Module):
    def __init__(self, config: PhotometryConfig, sampling: Sampling) -> None:
        super().__init__()
        self.attn_layers = nn.ModuleList([_Layer(config, sampling) for _ in range(config.e_layers)])
        self.norm = nn.LayerNorm(config.d_model)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        for layer in self.attn_layers:
            rows = layer(rows)
        out: torch.Tensor = self.norm(rows)
        return out


class _Layer(nn.Module):
    """Attention and a perceptron, each followed by a norm.

    The perceptron is stored as convolutions of one row, as in the checkpoints, and computed as what it is.
    """

    def __init__(self, config: PhotometryConfig, sampling: Sampling) -> None:
        super().__init__()
        self.attention = ProbSparseAttention(
            config.d_model,
            config.n_heads,
            factor=config.factor,
            seq_len=config.seq_len,
            sampling=sampling,
        )
        self.conv1 = nn.Conv1d(config.d_model, config.d_ff, 1)
        self.conv2 = nn.Conv1d(config.d_ff, config.d_model, 1)
        self.norm1 = nn.LayerNorm(config.d_model)
        self.norm2 = nn.LayerNorm(config.d_model)
        self.dropout = CheapDropout(config.dropout)
        self.activation = F.gelu if config.activation == "gelu" else F.relu

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        rows = self.norm1(rows + self.dropout(self.attention(rows)))
        hidden = F.linear(rows, self.conv1.weight.squeeze(-1), self.conv1.bias)
        hidden = self.dropout(self.activation(hidden))
        change = self.dropout(F.linear(hidden, self.conv2.weight.squeeze(-1), self.conv2.bias))
        out: torch.Tensor = self.norm2(rows + change)
        return out
