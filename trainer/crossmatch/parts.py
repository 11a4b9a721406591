# SPDX-License-Identifier: BSD-3-Clause
"""What one source knows of one object, and the file in which a source's parts wait to be joined."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from broker_plugin.records import LightCurve, Spectrum
from trainer.crossmatch.spectra import signal_to_noise
from trainer.data.objects import ObjectRow, iter_objects, write_objects

__all__ = ["Part", "PartIndex", "PartReader", "read_index", "write_parts"]

FloatArray = NDArray[np.float64]

ROWS_KEPT = 4000
"""Parts that a reader holds in memory: objects come almost in the order of their first source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one source knows of one object; None is unknown.

    Parameters
    ----------
    key
        Id inside the source's namespace.
    epoch_jyear
        Epoch of the position, Julian year.
    """

    key: str
    ra_deg: float | None = None
    dec_deg: float | None = None
    epoch_jyear: float = 2000.0
    pm_ra_cosdec_mas_yr: float | None = None
    pm_dec_mas_yr: float | None = None
    published_label: str | None = None
    period_day: float | None = None
    metadata: Mapping[str, float] = field(default_factory=dict)
    light_curve: LightCurve | None = None
    spectrum: Spectrum | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartIndex:
    """What is needed to join parts, as columns (P,); NaN is unknown."""

    key: tuple[str, ...]
    published_label: tuple[str | None, ...]
    ra_deg: FloatArray
    dec_deg: FloatArray
    epoch_jyear: FloatArray
    pm_ra_cosdec_mas_yr: FloatArray
    pm_dec_mas_yr: FloatArray
    period_day: FloatArray
    n_epochs: NDArray[np.int64]
    snr: FloatArray

    def __len__(self) -> int:
        return len(self.key)


_NUMBERS = ("ra_deg", "dec_deg", "epoch_jyear", "pm_ra_cosdec_mas_yr", "pm_dec_mas_yr", "period_day")


def write_parts(path: Path, parts: Iterable[Part], *, source: str) -> None:
    """Write a source's parts and, beside them, their index."""
    rows: dict[str, list[Any]] = {
        name: [] for name in ("key", "published_label", *_NUMBERS, "n_epochs", "snr")
    }

    def indexed() -> Iterator[ObjectRow]:
        for number, part in enumerate(parts):
            for name in ("key", "published_label", *_NUMBERS):
                rows[name].append(getattr(part, name))
            rows["n_epochs"].append(-1 if part.light_curve is None else len(part.light_curve))
            rows["snr"].append(None if part.spectrum is None else signal_to_noise(part.spectrum))
            yield ObjectRow(
                object_id=str(number),
                ra_deg=part.ra_deg,
                dec_deg=part.dec_deg,
                split="train",  # not dealt out yet; what is written here is not read again
                source=source,
                metadata=part.metadata,
                light_curve=part.light_curve,
                spectrum=part.spectrum,
            )

    write_objects(path, indexed())
    kinds = {"key": pa.string(), "published_label": pa.string(), "n_epochs": pa.int64()}
    table = {name: pa.array(values, kinds.get(name, pa.float64())) for name, values in rows.items()}
    pq.write_table(pa.table(table), index_path(path))


def index_path(path: Path) -> Path:
    """Return where the index of a file of parts lies."""
    return path.with_suffix(".index.parquet")


def read_index(path: Path) -> PartIndex:
    """Read the index that lies beside a file of parts."""
    table = pq.read_table(index_path(path))
    numbers = {
        name: np.array([np.nan if value is None else value for value in table[name].to_pylist()], np.float64)
        for name in (*_NUMBERS, "snr")
    }
    return PartIndex(
        key=tuple(table["key"].to_pylist()),
        published_label=tuple(table["published_label"].to_pylist()),
        n_epochs=table["n_epochs"].to_numpy().astype(np.int64),
        **numbers,
    )


class PartReader:
    """Parts by number; fast where numbers grow, right in any order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: OrderedDict[int, ObjectRow] = OrderedDict()
        self._begin()

    def __getitem__(self, number: int) -> ObjectRow:
        if number not in self._rows and number < self._next:
            self._begin()
        while number not in self._rows:
            self._rows[self._next] = next(self._iterator)
            self._next += 1
            if len(self._rows) > ROWS_KEPT:
                self._rows.popitem(last=False)
        return self._rows[number]

    def _begin(self) -> None:
        self._iterator, self._next = iter_objects(self._path), 0
