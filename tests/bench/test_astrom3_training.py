# SPDX-License-Identifier: BSD-3-Clause
"""One epoch of the paper's photometry training, ours against the plain loop, in one run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional

from tests.bench.plain_astrom3 import plain_epoch
from tests.trainer.astrom3.generated import write_processed
from trainer.astrom3.batches import gather, shuffled
from trainer.astrom3.config import PhotometryConfig
from trainer.astrom3.data import Objects, read_objects
from trainer.astrom3.informer import Informer
from trainer.astrom3.objective import classify
from trainer.astrom3.recipes import Recipe, recipe
from trainer.astrom3.training import Running, train_epoch, validate
from trainer.plain_pipeline.informer import PlainInformer

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

GAIN_MIN = 1.5
"""What the faster attention and dropout are for, on a CPU."""

LEARNING_RATE = 3e-4
"""Small enough that two loops with other random numbers stay on one curve."""

EPOCHS, BATCH = 3, 64

STEPS, STEP_BATCH = 8, 10

NOISE_TIMES = 3.0
"""How far our curve may be from the plain one, in units of how far two plain ones are from each other."""


def test_an_epoch_is_faster(tmp_path: Path) -> None:
    train, validation = splits(tmp_path, objects=26)
    settings = recipe("photometry", "full", clip=False)
    ours, plain = twins(settings.p_dropout)
    fast, slow = optimiser(ours, settings), optimiser(plain, settings)
    running = Running(batch_size=BATCH)
    table = Table("epoch", "plain s", "ours s", "plain val. loss", "ours", title=f"{len(train)} light curves")
    gains = []
    for epoch in range(EPOCHS):
        begun = time.process_time()
        plain_loss = plain_epoch(plain, slow, settings, train, validation, batch_size=BATCH)[1]
        between = time.process_time()
        common = {"modality": "photometry", "running": running}
        train_epoch(ours, fast, settings, classify, train, seed=1, epoch=epoch, **common)
        loss, _ = validate(ours, classify, validation, size=BATCH, **common)
        plain_s, ours_s = between - begun, time.process_time() - between
        gains.append(plain_s / ours_s)
        table.add_row(str(epoch), *(f"{value:.2f}" for value in (plain_s, ours_s, plain_loss, loss)))
    Console().print(table)
    print(f"{np.median(gains):.2f} times faster")  # noqa: T201 - the point of a bench
    assert np.median(gains) >= GAIN_MIN


def test_the_loss_curve_is_the_plain_ones_within_its_own_noise(tmp_path: Path) -> None:
    """Without dropout and on the same batches, only the sampled keys make two plain curves differ."""
    train, _ = splits(tmp_path, objects=8)
    settings = recipe("photometry", "full", clip=False)
    ours, first = twins(0.0)
    _, second = twins(0.0)
    curves = []
    for number, model in enumerate((ours, first, second)):
        torch.manual_seed(100 + number)
        steps = optimiser(model, settings)
        losses = []
        for members, starts in islice(batches_of(train), STEPS):
            inputs = gather(train, members, "photometry", starts=starts)
            loss = functional.cross_entropy(
                model.train()(inputs.tokens, inputs.mask), torch.from_numpy(train.label[members])
            )
            steps.zero_grad()
            loss.backward()
            steps.step()
            losses.append(loss.item())
        curves.append(np.array(losses))
    mine, one, other = curves
    noise, distance = abs(one - other).max(), abs(mine - one).max()
    print(f"curve {one.round(3)}, two plain apart {noise:.2e}, ours from plain {distance:.2e}")  # noqa: T201
    assert np.ptp(one) > 10 * noise, "the curve must move for this to mean anything"
    # A single pair of plain runs gives the noise only roughly.
    assert distance < NOISE_TIMES * noise


def splits(folder: Path, *, objects: int) -> tuple[Objects, Objects]:
    torch.set_num_threads(1)
    write_processed(folder, per_class={"train": objects, "validation": 6, "test": 1})
    return read_objects(folder, "full_42", "train"), read_objects(folder, "full_42", "validation")


def batches_of(objects: Objects) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for epoch in count():
        yield from shuffled(objects, STEP_BATCH, np.random.default_rng(epoch))


def twins(dropout: float) -> tuple[Informer, PlainInformer]:
    """Our model and the plain one with the same weights; without dropout, none in the embedding either."""
    torch.manual_seed(0)
    config = PhotometryConfig(classification=True, dropout=dropout)
    ours, plain = Informer(config), PlainInformer(config)
    plain.load_state_dict(ours.state_dict())
    if dropout == 0:
        for model in (ours, plain):
            model.enc_embedding.dropout = nn.Identity()
    return ours, plain


def optimiser(model: nn.Module, settings: Recipe) -> torch.optim.Adam:
    betas = (settings.beta1, settings.beta2)
    fused = not isinstance(model, PlainInformer)
    return torch.optim.Adam(
        model.parameters(), LEARNING_RATE, betas, weight_decay=settings.weight_decay, fused=fused
    )
