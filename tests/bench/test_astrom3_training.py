# SPDX-License-Identifier: BSD-3-Clause
"""One epoch of the paper's photometry training, ours against the plain loop, in one run."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.table import Table

from tests.bench.plain_astrom3 import PlainInformer, plain_epoch
from tests.trainer.astrom3.generated import write_processed
from trainer.astrom3.config import PhotometryConfig
from trainer.astrom3.data import read_objects
from trainer.astrom3.informer import Informer
from trainer.astrom3.objective import classify
from trainer.astrom3.recipes import recipe
from trainer.astrom3.training import Running, train_epoch, validate

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

GAIN_MIN = 1.5
"""What the faster attention and dropout are for, on a CPU."""

LEARNING_RATE = 3e-4
"""Small enough that two loops with other random numbers stay on one curve."""

EPOCHS, BATCH = 4, 64

CURVE_TOLERANCE = 0.25
"""Nats of validation loss; the curve falls by more than one, and seeds alone move a point by a tenth or two."""


def test_an_epoch_is_faster_and_the_curve_the_same(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the plain loop draws from it
    write_processed(tmp_path, per_class={"train": 26, "validation": 6, "test": 1})
    train, validation = (read_objects(tmp_path, "full_42", split) for split in ("train", "validation"))
    settings = recipe("photometry", "full", clip=False)
    config = settings.config("photometry", classes=10, classification=True)
    assert isinstance(config, PhotometryConfig)
    ours, plain = Informer(config), PlainInformer(config)
    plain.load_state_dict(ours.state_dict())
    beta = (settings.beta1, settings.beta2)
    decay = settings.weight_decay
    fast = torch.optim.Adam(ours.parameters(), LEARNING_RATE, beta, weight_decay=decay, fused=True)
    slow = torch.optim.Adam(plain.parameters(), LEARNING_RATE, beta, weight_decay=decay)
    running = Running(batch_size=BATCH)
    table = Table("epoch", "plain s", "ours s", "plain val. loss", "ours", title=f"{len(train)} light curves")
    seconds, losses = [], []
    for epoch in range(EPOCHS):
        begun = time.process_time()
        plain_loss = plain_epoch(plain, slow, settings, train, validation, batch_size=BATCH)[1]
        between = time.process_time()
        common = {"modality": "photometry", "running": running}
        train_epoch(ours, fast, settings, classify, train, seed=1, epoch=epoch, **common)
        loss, _ = validate(ours, classify, validation, size=BATCH, **common)
        seconds.append((between - begun, time.process_time() - between))
        losses.append((plain_loss, loss))
        row = (*seconds[-1], *losses[-1])
        table.add_row(str(epoch), *(f"{value:.2f}" for value in row))
    Console().print(table)
    gain = float(np.median([plain_s / ours_s for plain_s, ours_s in seconds]))
    print(f"{gain:.2f} times faster")  # noqa: T201 - the point of a bench
    assert gain >= GAIN_MIN
    assert max(abs(one - other) for one, other in losses) < CURVE_TOLERANCE
    assert losses[0][0] - losses[-1][0] > 2 * CURVE_TOLERANCE, "the curve must fall for this to mean anything"
