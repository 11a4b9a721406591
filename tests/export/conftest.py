# SPDX-License-Identifier: BSD-3-Clause
"""A finished tiny run and its bundle, made without any real data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from export.writer import write_bundle
from tests.support.shared import made_for_all
from tests.trainer.synthetic import tiny_settings, write_catalogue
from trainer.checkpoint import load_model
from trainer.fitting import fit, measure
from trainer.model import AlertModel
from trainer.preparation import Prepared, prepare, validation_set
from trainer.training import train
from trainer.training_sets import TrainingSets


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A run, its model and its bundle."""

    prepared: Prepared
    model: AlertModel
    run: Path
    bundle: Path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Everything from a catalogue to a bundle: two passes of a tiny model, one stratum of 400 alerts each."""
    root = made_for_all(tmp_path_factory, "export", _export)
    prepared = prepare(SETTINGS, root / "data", root / "run", say=_quiet)
    model = load_model(prepared.run, root / "run")
    return Exported(prepared=prepared, model=model, run=root / "run", bundle=root / "bundle")


SAMPLE, SOURCE = "made-up", "Nobody 2026, light curves that were made up"

SETTINGS = tiny_settings(
    training={"passes": 2},
    calibration={"decision_rule": "macro_f1"},
    data={"sample": SAMPLE, "source": SOURCE},
)


def _export(root: Path) -> None:
    write_catalogue(root / "data", stars_per_class=100)
    run = root / "run"
    prepared = prepare(SETTINGS, root / "data", run, say=_quiet)
    train(prepared.run, run, TrainingSets(prepared), validation_set(prepared))
    fitted = fit(prepared, run, say=_quiet)
    measure(prepared, fitted, run, say=_quiet)
    write_bundle(run, root / "bundle")


def _quiet(line: str) -> None:
    pass
