# SPDX-License-Identifier: BSD-3-Clause
"""Files of embeddings whose truth is known: classes are blobs on a sphere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.records import Access, LightCurve
from trainer.downstream.storage import write_rows
from trainer.downstream.table import About

DIM = 8
CLASSES = ("EW", "RRAB", "LPV")


def on_sphere(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def blobs(
    rng: np.random.Generator, n: int, *, spread: float = 0.25
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Unit vectors around the axes of the classes, and which class each is of."""
    code = np.arange(n) % len(CLASSES)
    return on_sphere(np.eye(DIM)[code] + rng.normal(0, spread, (n, DIM))), code.astype(np.int64)


def light_curve(rng: np.random.Generator, n_epochs: int = 30) -> LightCurve:
    return LightCurve.from_columns(
        mjd_tai=np.sort(rng.uniform(55_000, 55_300, n_epochs)),
        flux_njy=rng.uniform(900, 1100, n_epochs),
        flux_err_njy=np.full(n_epochs, 20.0),
        band=np.zeros(n_epochs),
        origin=np.zeros(n_epochs),
        apparent=np.ones(n_epochs),
        detector=np.zeros(n_epochs),
        access=np.full(n_epochs, Access.PUBLIC),
    )


def write_made(
    path: Path, rng: np.random.Generator, n: int, *, simulated: bool = False, **columns: Any
) -> NDArray[np.int64]:
    """Write `n` objects and return their classes; `columns` replace what is made, a list of N each."""
    vectors, code = blobs(rng, n)
    features = vectors @ rng.normal(0, 1, (DIM, 12)) + rng.normal(0, 0.1, (n, 12))
    rows = [
        {
            "id": f"made:{number}",
            "object_id": f"made:{number}",
            "survey": "made",
            "ra_deg": float(number % 360),
            "dec_deg": float(number // 360),
            "mjd_tai": 55_300.0,
            "n_epochs": 30,
            "source_context": "stellar",
            "label": CLASSES[code[number]],
            "published": CLASSES[code[number]],
            "other_type": None,
            "seen": False,
            "catalogue_period_day": 0.5,
            "period_day": 0.25,
            "top_class": CLASSES[code[number]],
            "probability": np.where(np.arange(3) == code[number], 0.8, 0.1),
            "anomaly_score": 0.5,
            "anomaly_p_value": 0.5,
            "calibration_stratum": "light_curve+metadata/16+",
            "fused": vectors[number],
            "embedding_light_curve": vectors[number],
            "embedding_metadata": on_sphere(rng.normal(0, 1, (1, DIM)))[0],
            "features": features[number].astype(np.float32),
            "curve": light_curve(rng),
            **{name: values[number] for name, values in columns.items()},
        }
        for number in range(n)
    ]
    about = About(
        bundle="made 1",
        bundle_digest="0" * 64,
        classes=CLASSES,
        modalities=("light_curve", "metadata"),
        embedding_dim=DIM,
        source="made.parquet",
        first=None,
        period=False,
        simulated=simulated,
        n_features=12,
    )
    write_rows(path, about, [rows])
    return code
