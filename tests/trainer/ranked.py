# SPDX-License-Identifier: BSD-3-Clause
"""Two short trainings, to be run by one process or by several under `torchrun`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from tests.trainer.synthetic import tiny_settings
from trainer.compute import Compute, connected
from trainer.config import Settings
from trainer.data.splits import Split
from trainer.preparation import prepare, validation_set
from trainer.training import pretrain, train
from trainer.training_sets import TrainingSets
from trainer.weights import pool_of

__all__ = ["train_both"]


def train_both(data: Path, out: Path, folder: Path, compute: Compute) -> None:
    """Train jointly and by contrast without dropout, into `folder`-RANK/joint and `folder`-RANK/contrast.

    Parameters
    ----------
    out
        Folder of a run of `tiny_settings` with its cached sets.
    """
    prepared = compute.in_turn(lambda: prepare(tiny_settings(), data, out, say=lambda line: None))
    run = replace(prepared.run, settings=settings_without_dropout())
    own = folder.with_name(f"{folder.name}-{compute.rank}")
    for kind in ("joint", "contrast"):
        if compute.first:
            (own / kind).mkdir(parents=True)
    sets = compute.in_turn(lambda: TrainingSets(prepared))
    validation = compute.in_turn(lambda: validation_set(prepared))
    train(run, own / "joint", sets, validation, compute=compute)
    pool, watched = (
        compute.in_turn(lambda split=split: pool_of([prepared], split, compute))
        for split in (Split.TRAIN, Split.VALIDATION)
    )
    pretrain(run, own / "contrast", pool, watched, compute=compute)


def settings_without_dropout() -> Settings:
    """Return tiny settings; which modalities are left out of the fusion is drawn for all processes alike."""
    settings = tiny_settings(model={"dropout": 0.0}, training={"modality_dropout": 0.3})
    return Settings.model_validate(settings.model_dump() | {"pretraining": {"passes": 2}})


if __name__ == "__main__":
    with connected(settings_without_dropout().training) as compute:
        train_both(*(Path(each) for each in sys.argv[1:]), compute)
