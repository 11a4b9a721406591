# SPDX-License-Identifier: BSD-3-Clause
"""The paper's photometry model and loop in the plainest torch: the baseline of the training benchmark.

Written from the description of the architecture, nothing done to be fast: sampled attention by gathering,
convolutions of one row, torch's dropout, a data loader that prepares object by object.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from trainer.astrom3.config import PhotometryConfig
from trainer.astrom3.data import Objects
from trainer.astrom3.informer import Informer
from trainer.astrom3.preprocess import window
from trainer.astrom3.recipes import Recipe

Sample = tuple[np.ndarray, np.ndarray, int]


class PlainLayer(nn.Module):
    def __init__(self, config: PhotometryConfig) -> None:
        super().__init__()
        width, hidden = config.d_model, config.d_ff
        self.heads, self.chosen = config.n_heads, config.factor * math.ceil(math.log(config.seq_len))
        self.attention = nn.Module()
        for name in ("query", "key", "value", "out"):
            setattr(self.attention, f"{name}_projection", nn.Linear(width, width))
        self.conv1 = nn.Conv1d(width, hidden, 1)
        self.conv2 = nn.Conv1d(hidden, width, 1)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        shape = (batch, length, self.heads, width // self.heads)
        query = self.attention.query_projection(x).view(shape).transpose(1, 2)
        key = self.attention.key_projection(x).view(shape).transpose(1, 2)
        value = self.attention.value_projection(x).view(shape).transpose(1, 2)
        drawn = torch.randint(length, (length, self.chosen))
        sampled = key.unsqueeze(2).expand(-1, -1, length, -1, -1)
        sampled = sampled[:, :, torch.arange(length).unsqueeze(1), drawn]
        scores = torch.matmul(query.unsqueeze(3), sampled.transpose(3, 4)).squeeze(3)
        top = (scores.max(-1)[0] - scores.sum(-1) / length).topk(self.chosen, sorted=False)[1]
        where = (torch.arange(batch)[:, None, None], torch.arange(self.heads)[None, :, None], top)
        weights = torch.softmax(query[where] @ key.transpose(2, 3) / math.sqrt(shape[3]), dim=-1)
        context = value.mean(dim=2, keepdim=True).expand_as(value).clone()
        context[where] = weights @ value
        return self.attention.out_projection(context.contiguous().view(batch, length, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm1(x + self.dropout(self.attend(x)))
        hidden = self.dropout(nn.functional.gelu(self.conv1(x.transpose(1, 2))))
        return self.norm2(x + self.dropout(self.conv2(hidden).transpose(1, 2)))


class PlainInformer(Informer):
    """The same weights; only what is computed with them is written plainly."""

    def __init__(self, config: PhotometryConfig) -> None:
        super().__init__(config)
        self.encoder.attn_layers = nn.ModuleList([PlainLayer(config) for _ in range(config.e_layers)])
        self.dropout = nn.Dropout(config.dropout)
        self.enc_embedding.dropout = nn.Dropout(0.1)


class PlainDataset(Dataset[Sample]):
    def __init__(self, objects: Objects, *, training: bool) -> None:
        self.objects, self.training = objects, training

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, number: int) -> Sample:
        begin, end = self.objects.offsets[number : number + 2]
        start = int(np.random.randint(0, max(end - begin - 200, 0) + 1)) if self.training else None  # noqa: NPY002
        tokens, mask = window(self.objects.rows[begin:end], start=start)
        return tokens, mask, int(self.objects.label[number])


def plain_epoch(
    model: PlainInformer,
    optimiser: torch.optim.Optimizer,
    recipe: Recipe,
    train: Objects,
    validation: Objects,
    *,
    batch_size: int,
) -> tuple[list[float], float]:
    """Return the losses of the training batches, and the mean loss on the validation split."""
    model.train()
    losses = []
    loader = DataLoader(PlainDataset(train, training=True), batch_size, shuffle=True, drop_last=True)
    for tokens, mask, label in loader:
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(tokens, mask), label)
        loss.backward()
        if recipe.gradient_norm_max is not None:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_norm_max)
        optimiser.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        held_out = [
            nn.functional.cross_entropy(model(tokens, mask), label).item()
            for tokens, mask, label in DataLoader(PlainDataset(validation, training=False), batch_size)
        ]
    return losses, float(np.mean(held_out))
