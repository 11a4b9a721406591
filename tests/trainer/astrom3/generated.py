# SPDX-License-Identifier: BSD-3-Clause
"""Generated files in the layout of AstroM3Processed, AstroM3Dataset, ASAS-SN and LAMOST: no real object."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from numpy.typing import NDArray

from trainer.astrom3.scaler import META_COLUMNS, PHOTO_COLUMNS

CLASSES = ("DSCT", "EA", "EB", "EW", "HADS", "M", "ROT", "RRAB", "RRC", "SR")
PER_CLASS = {"train": 4, "validation": 2, "test": 2}


def write_processed(
    folder: Path, *, seeds: tuple[int, ...] = (42,), per_class: dict[str, int] | None = None
) -> Path:
    """Write configs `full_SEED` and `sub10_SEED`, the latter half of the former's objects, scaled anew."""
    counts = per_class or PER_CLASS
    for seed in seeds:
        rng = np.random.default_rng(seed)
        for split, n in counts.items():
            label = np.repeat(np.arange(len(CLASSES)), n)
            rows = [_rows(rng, each) for each in label]
            spectra = rng.normal(size=(len(label), 3, 2575)).astype(np.float32)
            spectra[:, 0] += np.sin(np.arange(2575) / (20 + 10 * label[:, None]))
            metadata = rng.normal(size=(len(label), 34)).astype(np.float32)
            metadata[np.arange(len(label)), label] += 3
            write_split(folder, f"full_{seed}", split, rows, spectra, metadata, label)
            half = slice(None, None, 2)
            shifted = [np.hstack([each[:, :3], each[:, 3:] * 1.5]) for each in rows[half]]
            write_split(
                folder, f"sub10_{seed}", split, shifted, spectra[half], metadata[half] * 1.5, label[half]
            )
    return folder


def write_split(
    folder: Path,
    config: str,
    split: str,
    rows: list[NDArray[np.float32]],
    spectra: NDArray[np.float32],
    metadata: NDArray[np.float32],
    label: NDArray[np.int64],
) -> Path:
    """Write one split in two files as `datasets` does: nested lists, features as JSON in the schema."""
    features = {
        "photometry": {"shape": [None, 9], "dtype": "float32", "_type": "Array2D"},
        "spectra": {"shape": [3, 2575], "dtype": "float32", "_type": "Array2D"},
        "metadata": {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"},
        "label": {"names": list(CLASSES), "_type": "ClassLabel"},
    }
    image = pa.list_(pa.list_(pa.float32()))
    schema = pa.schema(
        [
            ("photometry", image),
            ("spectra", image),
            ("metadata", pa.list_(pa.float32())),
            ("label", pa.int64()),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    target = folder / config
    target.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(np.array_split(np.arange(len(label)), 2)):
        table = pa.table(
            {
                "photometry": [rows[each].tolist() for each in part],
                "spectra": [spectra[each].tolist() for each in part],
                "metadata": [metadata[each].tolist() for each in part],
                "label": label[part].tolist(),
            },
            schema=schema,
        )
        pq.write_table(table, target / f"{split}-{number:05d}-of-00002.parquet")
    return target


def info_json() -> dict[str, object]:
    """Return the content of an info.json."""
    columns = [*PHOTO_COLUMNS, *META_COLUMNS]
    return {
        "classes": list(CLASSES),
        "photo_cols": list(PHOTO_COLUMNS),
        "meta_cols": list(META_COLUMNS),
        "all_cols": columns,
        "metadata_func": {"abs": ["mean_vmag"], "cos": ["l"], "sin": ["b"], "log": ["period"]},
        "mean": [0.1 * number for number in range(len(columns))],
        "std": [1 + 0.1 * number for number in range(len(columns))],
    }


def catalogue_row() -> dict[str, float]:
    """Return a made-up catalogue row with all 38 columns."""
    values = {name: 10.0 + number for number, name in enumerate(META_COLUMNS)}
    values |= {"parallax": 2.0, "l": 60.0, "b": -30.0}
    return values | {"amplitude": 0.4, "period": 10.0, "lksl_statistic": 0.2, "rfr_score": 0.9}


def write_asassn(path: Path, table: NDArray[np.float64]) -> None:
    """Write HJD MAG MAG_ERR FLUX FLUX_ERR below two lines of header."""
    lines = ["# a made-up star", "HJD MAG MAG_ERR FLUX FLUX_ERR"]
    lines += [" ".join(f"{value:.6f}" for value in row) for row in table]
    path.write_text("\n".join(lines) + "\n")


def write_lamost_table(path: Path, wave: NDArray[np.float64], flux: NDArray[np.float64]) -> None:
    """Write a spectrum as the later data releases do: one row of array columns."""
    n = len(wave)
    columns = [
        fits.Column(name=name, format=f"{n}E", array=values[None].astype(np.float32))
        for name, values in (("FLUX", flux), ("IVAR", np.full(n, 0.5)), ("WAVELENGTH", wave))
    ]
    units = fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)])
    buffer = io.BytesIO()
    units.writeto(buffer)
    path.write_bytes(gzip.compress(buffer.getvalue()))


def _rows(rng: np.random.Generator, label: int) -> NDArray[np.float32]:
    n = int(rng.integers(20, 320))
    time = np.sort(rng.random(n))
    flux = np.sin(2 * np.pi * (3 + label) * time) + 0.1 * rng.normal(size=n)
    constants = np.tile(np.concatenate([0.3 * rng.normal(size=4) + label / 5, [0.2, 4.0]]), (n, 1))
    return np.column_stack([time, flux, np.full(n, 0.1), constants]).astype(np.float32)
