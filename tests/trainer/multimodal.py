# SPDX-License-Identifier: BSD-3-Clause
"""Tiny runs with several modalities on simulated stars."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker_plugin.records import Alert
from export.writer import write_bundle
from tests.trainer.synthetic import tiny_settings
from trainer.config import Settings
from trainer.data.objects import alert_of, iter_objects
from trainer.fitting import fit
from trainer.object_runs import prepare_objects
from trainer.preparation import Prepared, validation_set
from trainer.training import train
from trainer.training_sets import TrainingSets

__all__ = ["TRIMODAL", "Finished", "finish", "held_out_alerts", "multimodal_settings"]

_ATTENTION = {"model_dim": 16, "heads": 2, "layers": 1, "feedforward_dim": 32}

TRIMODAL: dict[str, dict[str, Any]] = {
    "photometry": {"spec": {"max_epochs": 32}, "encoder": _ATTENTION},
    "spectrum": {"encoder": _ATTENTION},
    "metadata": {
        "spec": {
            "columns": [
                {"name": "gal_lat_deg", "transform": "abs_sin_deg"},
                {"name": "ps1_g_mag", "minus": "ps1_r_mag"},
                {"name": "ps1_r_mag", "minus": "ps1_i_mag"},
            ]
        },
        "encoder": {"hidden_dim": 16},
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A tiny run from a dataset to its bundle."""

    prepared: Prepared
    run: Path
    bundle: Path


def multimodal_settings(modalities: dict[str, dict[str, Any]], **training: object) -> Settings:
    """Return tiny settings for some modalities."""
    settings = tiny_settings(
        data={"train_sets": 1, "alerts_per_set": 96, "validation_alerts": 32},
        training={"passes": 2, **training},
        anomaly={"min_epochs": 1, "class_forests": False},
    )
    return Settings.model_validate(settings.model_dump() | {"modalities": modalities})


def finish(dataset: Path, modalities: dict[str, dict[str, Any]], root: Path) -> Finished:
    """Train, fit, calibrate and export."""
    prepared = prepare_objects(multimodal_settings(modalities), dataset, root / "run", say=lambda line: None)
    train(prepared.run, root / "run", TrainingSets(prepared), validation_set(prepared))
    fit(prepared, root / "run", say=lambda line: None)
    return Finished(prepared=prepared, run=root / "run", bundle=write_bundle(root / "run", root / "bundle"))


def held_out_alerts(dataset: Path) -> list[Alert]:
    """Return the whole objects of the test split as alerts."""
    return [alert_of(row) for row in iter_objects(dataset, split="test")]
