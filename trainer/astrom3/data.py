# SPDX-License-Identifier: BSD-3-Clause
"""The data set AstroM3Processed: light curves, spectra, metadata and labels of one split, from parquet."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError
from trainer.astrom3.checkpoint import fetch
from trainer.astrom3.config import N_WAVELENGTHS
from trainer.astrom3.preprocess import N_CHANNELS, N_MEASURED
from trainer.astrom3.scaler import META_COLUMNS

__all__ = ["REPOSITORY", "Objects", "Split", "read_objects", "require_no_overlap", "resolve_data"]

REPOSITORY = "AstroMLCore/AstroM3Processed"

Split = Literal["train", "validation", "test"]

N_SPECTRAL = 3
COLUMNS = ("photometry", "spectra", "metadata", "label")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """The objects of a split.

    Parameters
    ----------
    rows, offsets
        Rows (N, 9) of all light curves one after another, and where each begins (B + 1,).
    spectra
        (B, 3, 2575).
    metadata
        Scaled columns (B, 34).
    label
        Number of the class (B,).
    classes
        Names of the classes, by number.
    """

    rows: NDArray[np.float32]
    offsets: NDArray[np.int64]
    spectra: NDArray[np.float32]
    metadata: NDArray[np.float32]
    label: NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.label)

    def identities(self) -> list[bytes]:
        """Return a digest of every object's times, fluxes and errors: the same in every subset and seed."""
        return [
            hashlib.sha256(np.ascontiguousarray(self.rows[a:b, :N_MEASURED]).tobytes()).digest()
            for a, b in zip(self.offsets[:-1], self.offsets[1:], strict=True)
        ]

    def digest(self) -> str:
        """Return a checksum of everything that training sees."""
        sha = hashlib.sha256()
        for array in (self.rows, self.offsets, self.spectra, self.metadata, self.label):
            sha.update(np.ascontiguousarray(array).tobytes())
        sha.update("/".join(self.classes).encode())
        return sha.hexdigest()


def resolve_data(source: str | Path, configs: tuple[str, ...]) -> Path:
    """Return the folder of the data: `source` if it is one, else fetched from the hub.

    Parameters
    ----------
    configs
        Names such as full_42; only these are fetched.
    """
    if Path(source).is_dir():
        return Path(source)
    return fetch(str(source), tuple(f"{config}/*" for config in configs), kind="dataset")


def read_objects(folder: Path, config: str, split: Split) -> Objects:
    """Read a split of a configuration.

    Files are looked for as CONFIG/SPLIT-*.parquet and CONFIG/SPLIT/*.parquet, the layouts of the hub.

    Parameters
    ----------
    config
        Subset and seed, e.g. full_42.

    Raises
    ------
    ConfigurationError
        If there is no file, a column is missing, or a shape or value is not what the model takes.
    """
    within = folder / config
    paths = sorted(within.glob(f"{split}-*.parquet")) or sorted((within / split).glob("*.parquet"))
    if not paths:
        raise ConfigurationError(
            f"no {split} split of {config} in {folder}; wanted {config}/{split}-*.parquet as in {REPOSITORY}"
        )
    try:
        parts = [_read(path) for path in paths]
    except (OSError, pa.ArrowException) as error:
        raise ConfigurationError(f"cannot read {config}/{split} in {folder}: {error}") from error
    if len({part.classes for part in parts}) > 1:
        raise ConfigurationError(f"the files of {config}/{split} in {folder} name different classes")
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return Objects(
        rows=np.concatenate([part.rows for part in parts]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        spectra=np.concatenate([part.spectra for part in parts]),
        metadata=np.concatenate([part.metadata for part in parts]),
        label=np.concatenate([part.label for part in parts]),
        classes=parts[0].classes,
    )


def require_no_overlap(seen: Objects, test: Objects, what: str) -> None:
    """Stop if an object of a test split was trained on.

    Raises
    ------
    ConfigurationError
        If so; the accuracy would be worth nothing.
    """
    both = set(seen.identities()) & set(test.identities())
    if both:
        raise ConfigurationError(f"{len(both)} test objects are also in {what}; are the splits of one seed?")


def _read(path: Path) -> Objects:
    file = pq.ParquetFile(path)
    missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
    if missing:
        raise ConfigurationError(f"{path} lacks {', '.join(missing)}: it is no file of {REPOSITORY}")
    table = file.read(columns=list(COLUMNS))
    rows, outer = _flat(table["photometry"], path, depth=2)
    spectra, _ = _flat(table["spectra"], path, depth=2)
    metadata, _ = _flat(table["metadata"], path, depth=1)
    label, classes = _labels(table["label"], file.schema_arrow, path)
    n = len(label)
    objects = Objects(
        rows=_shaped(rows, (-1, N_CHANNELS), "photometry", path),
        offsets=outer,
        spectra=_shaped(spectra, (n, N_SPECTRAL, N_WAVELENGTHS), "spectra", path),
        metadata=_shaped(metadata, (n, len(META_COLUMNS)), "metadata", path),
        label=label,
        classes=classes,
    )
    if objects.offsets[-1] != len(objects.rows) or (np.diff(objects.offsets) == 0).any():
        raise ConfigurationError(f"{path}: photometry is not of {N_CHANNELS} channels with at least one row")
    return objects


def _flat(column: pa.ChunkedArray, path: Path, *, depth: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the numbers of a nested column and the offsets of its outer lists."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    if array.null_count:
        raise ConfigurationError(f"{path}: {array.null_count} objects lack a value")
    counts = pc.list_value_length(array).to_numpy(zero_copy_only=False)
    for _ in range(depth):
        array = array.flatten()
    if array.null_count:
        raise ConfigurationError(f"{path}: {array.null_count} numbers are missing")
    return array.to_numpy(zero_copy_only=False), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _shaped(values: NDArray[Any], shape: tuple[int, ...], name: str, path: Path) -> NDArray[np.float32]:
    try:
        shaped = values.astype(np.float32).reshape(shape)
    except ValueError as error:
        raise ConfigurationError(f"{path}: {name} is not of shape {shape}") from error
    if not np.isfinite(shaped).all():
        raise ConfigurationError(f"{path}: {name} holds a value that is not finite")
    return shaped


def _labels(
    column: pa.ChunkedArray, schema: pa.Schema, path: Path
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the labels and the names of the classes, by the features that the file says it has."""
    metadata = schema.metadata or {}
    if b"huggingface" not in metadata:
        raise ConfigurationError(
            f"{path} does not name its classes: its schema has no `huggingface` metadata"
        )
    features = json.loads(metadata[b"huggingface"])["info"]["features"]
    names = features.get("label", {}).get("names")
    if not names:
        raise ConfigurationError(f"{path}: the label is no class label with names")
    label = column.to_numpy().astype(np.int64)
    if label.size and not 0 <= label.min() <= label.max() < len(names):
        raise ConfigurationError(f"{path}: a label is not one of {len(names)} classes")
    return label, tuple(names)
