# SPDX-License-Identifier: BSD-3-Clause
"""The plainest training loop around the paper's photometry model: the baseline of the training benchmark.

Nothing is done to be fast: a data loader that prepares object by object, a step for each batch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from trainer.astrom3.data import Objects
from trainer.astrom3.preprocess import window
from trainer.astrom3.recipes import Recipe
from trainer.plain_pipeline.informer import PlainInformer

Sample = tuple[np.ndarray, np.ndarray, int]


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
