# SPDX-License-Identifier: BSD-3-Clause
"""The paper's photometry model in the plainest torch.

Written from the description of the architecture, nothing done to be fast: sampled attention by gathering,
convolutions of one row, torch's own dropout. The weights are those of `trainer.astrom3.informer`.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from trainer.astrom3.config import PhotometryConfig
from trainer.astrom3.informer import EMBEDDING_DROPOUT, Informer

__all__ = ["PlainInformer"]


class PlainInformer(Informer):
    """The same weights; only what is computed with them is written plainly."""

    def __init__(self, config: PhotometryConfig) -> None:
        super().__init__(config)
        self.encoder.attn_layers = nn.ModuleList([_PlainLayer(config) for _ in range(config.e_layers)])
        self.dropout = nn.Dropout(config.dropout)  # type: ignore[assignment]
        self.enc_embedding.dropout = nn.Dropout(EMBEDDING_DROPOUT)  # type: ignore[assignment]


class _PlainLayer(nn.Module):
    def __init__(self, config: PhotometryConfig) -> None:
        super().__init__()
        width, hidden = config.d_model, config.d_ff
        self.heads, self.chosen = config.n_heads, config.factor * math.ceil(math.log(config.seq_len))
        names = ("query", "key", "value", "out")
        self.attention = nn.ModuleDict({f"{name}_projection": nn.Linear(width, width) for name in names})
        self.conv1 = nn.Conv1d(width, hidden, 1)
        self.conv2 = nn.Conv1d(hidden, width, 1)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        """Return the attention's output: true attention for the queries whose sampled scores stand out."""
        batch, length, width = x.shape
        shape = (batch, length, self.heads, width // self.heads)
        query = self.attention["query_projection"](x).view(shape).transpose(1, 2)
        key = self.attention["key_projection"](x).view(shape).transpose(1, 2)
        value = self.attention["value_projection"](x).view(shape).transpose(1, 2)
        drawn = torch.randint(length, (length, self.chosen))
        sampled = key.unsqueeze(2).expand(-1, -1, length, -1, -1)
        sampled = sampled[:, :, torch.arange(length).unsqueeze(1), drawn]
        scores = torch.matmul(query.unsqueeze(3), sampled.transpose(3, 4)).squeeze(3)
        top = (scores.max(-1)[0] - scores.sum(-1) / length).topk(self.chosen, sorted=False)[1]
        where = (torch.arange(batch)[:, None, None], torch.arange(self.heads)[None, :, None], top)
        weights = torch.softmax(query[where] @ key.transpose(2, 3) / math.sqrt(shape[3]), dim=-1)
        context = value.mean(dim=2, keepdim=True).expand_as(value).clone()
        context[where] = weights @ value
        rows: torch.Tensor = self.attention["out_projection"](context.contiguous().view(batch, length, width))
        return rows

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm1(x + self.dropout(self.attend(x)))
        hidden = self.dropout(nn.functional.gelu(self.conv1(x.transpose(1, 2))))
        rows: torch.Tensor = self.norm2(x + self.dropout(self.conv2(hidden).transpose(1, 2)))
        return rows
