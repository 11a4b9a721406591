# SPDX-License-Identifier: BSD-3-Clause
"""Messages to measure on, and their form on disk, from which every process takes its part."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
from numpy.typing import NDArray

__all__ = ["Corpora", "Corpus", "read_values", "schema_folder", "store"]

QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)

STORED = {
    "type": "record",
    "name": "message",
    "namespace": "astrom3.benchmark",
    "fields": [{"name": "value", "type": "bytes"}],
}
"""One record a message: a message may itself be a container file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Messages of one kind.

    Parameters
    ----------
    name
        `ztf`, `lsst`, or `lsst_N` with histories of N rows.
    values
        The messages as they come from Kafka.
    rows
        Rows in the histories of each.
    about
        What was done to make them, for a reader of the results.
    with_images
        How many of them have all their images.
    """

    name: str
    values: tuple[bytes, ...]
    rows: NDArray[np.int64]
    about: str
    with_images: int = 0

    def __len__(self) -> int:
        return len(self.values)

    def described(self) -> dict[str, Any]:
        """Return what the messages are, as JSON has it.

        Examples
        --------
        >>> corpus = Corpus(name="ztf", values=(b"ab",), rows=np.array([3]), about="one")
        >>> corpus.described()["history_rows"]["0.5"]
        3
        """
        sizes = np.array([len(value) for value in self.values])
        return {
            "messages": len(self.values),
            "with_images": self.with_images,
            "about": self.about,
            "bytes": _quantiles(sizes) | {"mean": round(float(sizes.mean()))},
            "history_rows": _quantiles(self.rows) | {"mean": round(float(self.rows.mean()), 1)},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpora:
    """All corpora by name, why others are missing, and the schemas of framed messages by id."""

    by_name: dict[str, Corpus] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    schemas: dict[int, Any] = field(default_factory=dict)


def store(corpora: Corpora, folder: Path) -> None:
    """Write corpora into a folder, for the processes that are measured."""
    schema_folder(folder).mkdir(parents=True)
    for number, schema in corpora.schemas.items():
        (schema_folder(folder) / f"{number}.avsc").write_text(json.dumps(schema), "utf-8")
    for name, corpus in corpora.by_name.items():
        with (folder / f"{name}.avro").open("wb") as target:
            fastavro.writer(target, STORED, ({"value": value} for value in corpus.values))


def schema_folder(folder: Path) -> Path:
    """Return the place of the schemas of framed messages in a folder of corpora, one file `ID.avsc` each."""
    return folder / "schemas"


def read_values(folder: Path, name: str) -> list[bytes]:
    """Return the messages of a corpus in a folder."""
    return list(_values(folder / f"{name}.avro"))


def _values(path: Path) -> Iterator[bytes]:
    with path.open("rb") as source:
        records: Iterable[Any] = fastavro.reader(source)
        for record in records:
            yield record["value"]


def _quantiles(numbers: NDArray[np.int64]) -> dict[str, float]:
    found = np.quantile(numbers, QUANTILES, method="nearest")
    return {str(share): int(value) for share, value in zip(QUANTILES, found, strict=True)}
