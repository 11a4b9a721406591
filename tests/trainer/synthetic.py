# SPDX-License-Identifier: BSD-3-Clause
"""Small training sets made up for tests: a Catalina-like file and tiny settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainer.config import Settings
from trainer.data.catalina import FILE
from trainer.data.used import UsedStars

__all__ = ["CLASS_LABELS", "named_stars", "tiny_settings", "write_catalogue", "write_settings", "write_toml"]

CLASS_LABELS = (
    "Ecl_contact_semidetached",
    "EA_detached",
    "RRab",
    "RRc",
    "RRd",
    "CEPII",
    "DSCT",
    "LPV",
    "ROT",
)
"""One published label for each class, in the order of the taxonomy."""

PERIOD_DAY = (0.35, 2.3, 0.55, 0.32, 0.41, 9.0, 0.08, 160.0, 1.7)

SPAN_DAY = 720
"""Long against every period; the time that a period search takes grows with it."""

VISITS_DAY = 3
"""A star is exposed once in so many days, so that two epochs are never of one visit, nor of one flare."""


def write_catalogue(
    data: Path, *, stars_per_class: int, seed: int = 3, labels: Sequence[str] = CLASS_LABELS
) -> Path:
    """Write a file of sinusoidal stars like Catalina's, with its traps, and return its path.

    The last star stands 5 arcsec from the first under another label, and one epoch lies at an absurd time.
    """
    rng = np.random.default_rng(seed)
    rows = []
    periods = dict(zip(CLASS_LABELS, PERIOD_DAY, strict=True))
    for label in labels:
        period = periods[label]
        for _ in range(stars_per_class):
            rows.append(_star(rng, label, period * rng.uniform(0.9, 1.1), number=len(rows)))
    twin = _star(rng, "RRab", rows[0]["period"], number=len(rows))
    twin |= {"ra": rows[0]["ra"], "dec": rows[0]["dec"] + 5 / 3600}
    rows.append(twin)
    rows[0]["mjd"][0] = -2409998.5
    path = data / FILE
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def tiny_settings(**changes: dict[str, object]) -> Settings:
    """Return settings that train in seconds; `changes` replace values of a section."""
    sections: dict[str, dict[str, object]] = {
        "model": {
            "embedding_dim": 16,
            "dropout": 0.1,
            "head_hidden_dim": 32,
        },
        "modalities": {
            "photometry": {
                "spec": {"max_epochs": 64},
                "encoder": {"model_dim": 16, "heads": 2, "layers": 1, "feedforward_dim": 32},
            },
            "metadata": {
                "spec": {
                    "columns": [
                        {"name": "gal_lat_deg", "transform": "abs_sin_deg"},
                        {"name": "reference_mag", "std": 2.0},
                    ]
                },
                "encoder": {"hidden_dim": 16},
            },
        },
        "data": {
            "split_fractions": [0.25, 0.1, 0.5, 0.15],
            "class_windows": 20,
            "train_sets": 2,
            "alerts_per_set": 180,
            "validation_alerts": 45,
            "odd_share": 0.2,
            "workers": 1,
        },
        "training": {
            "passes": 3,
            "learning_rate": 3e-3,
            "weight_decay": 1e-2,
            "warmup_steps": 2,
            "batch_max": 64,
            "tokens_per_batch": 2048,
            "clip_weight": 0.2,
            "single_weight": 0.5,
            "oddity_weight": 0.3,
            "modality_dropout": 0.15,
            "label_smoothing": 0.0,
            "threads": 1,
        },
        "anomaly": {"min_epochs": 8, "class_forests": True},
        "calibration": {"alerts_per_stratum": 600, "epoch_edges": [0, 1, 8]},
        "evaluation": {"alerts_per_bin": 60, "seeds": [1]},
    }
    for section, values in changes.items():
        sections[section] |= values
    return Settings.model_validate({"name": "tiny", "version": "0", "seed": 7, **sections})


def write_settings(settings: Settings, path: Path) -> Path:
    """Write settings to a TOML file and return its path."""
    return write_toml(settings.model_dump(mode="json", exclude_none=True), path)


def write_toml(content: Mapping[str, object], path: Path) -> Path:
    """Write tables to a TOML file, one a line, and return its path."""
    path.write_text("".join(f"{name} = {_inline(value)}\n" for name, value in content.items()))
    return path


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_inline(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(each) for each in value) + "]"
    if isinstance(value, float):
        return repr(value)  # as TOML spells inf and nan
    return json.dumps(value)


def _star(rng: np.random.Generator, label: str, period: float, *, number: int) -> dict[str, object]:
    n = int(rng.integers(60, 90))
    visit = np.sort(rng.choice(SPAN_DAY // VISITS_DAY, n, replace=False))
    mjd = 53_600 + VISITS_DAY * visit + rng.uniform(0, VISITS_DAY / 2, n)
    mean = rng.uniform(13, 18)
    amplitude = rng.uniform(0.3, 0.6)
    mag = mean + amplitude * np.sin(2 * np.pi * mjd / period) + rng.normal(0, 0.03, n)
    return {
        "id": 1000 + number,
        "name": f"{label} {number}",
        "ra": float(rng.uniform(0, 360)),
        "dec": float(rng.uniform(-75, -20)),
        "l": float(rng.uniform(0, 360)),
        "b": float(rng.uniform(-90, 45)),
        "period": period,
        "vmag": mean,
        "amp": amplitude,
        "n": n,
        "lc_p95_p5": float(np.ptp(np.quantile(mag, (0.05, 0.95)))),
        "sss_class": label,
        "gcvs_type": label[:4],
        "astrom3_class_proxy": label.upper(),
        "mjd": mjd.tolist(),
        "mag": mag.astype(np.float32).tolist(),
        "mag_err": np.full(n, 0.05, np.float32).tolist(),
    }


def named_stars(names: Sequence[str]) -> UsedStars:
    """Return stars that are known by their names alone."""
    nowhere = np.full(len(names), np.nan)
    return UsedStars(name=np.array(names), ra_deg=nowhere, dec_deg=nowhere)
