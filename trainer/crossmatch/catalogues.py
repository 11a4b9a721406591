# SPDX-License-Identifier: BSD-3-Clause
"""Catalogue rows from Parquet, CSV and FITS tables, a block at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from astropy.coordinates import SkyCoord
from astropy.table import Table

from broker_plugin.errors import ConfigurationError
from broker_plugin.vizier import arrow_options
from trainer.crossmatch.parts import Part
from trainer.crossmatch.settings import Columns

__all__ = ["part_of_row", "read_blocks", "rows_in"]

ROWS_PER_BLOCK = 2000
"""Rows in memory at a time; a nested row holds a whole light curve."""


BOTH_IN_ONE = re.compile(r"(\d+:\d+:[\d.]+):?\s*([+-]\d+:\d+:[\d.]+)")
"""Right ascension and declination in one field, where a comma became a colon: the sign parts them."""


def rows_in(path: Path) -> int:
    """Return how many rows a Parquet file has, 1 for files that only reading can count."""
    return int(pq.ParquetFile(path).metadata.num_rows) if path.suffix == ".parquet" else 1


def read_blocks(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the named columns of a table in blocks of rows.

    Raises
    ------
    ConfigurationError
        If a column or the whole table cannot be had.
    """
    try:
        if path.suffix == ".parquet":
            file = pq.ParquetFile(path)
            if missing := set(columns) - set(file.schema_arrow.names):
                raise ConfigurationError(f"{path} has no columns {sorted(missing)}")
            if twice := [name for name in columns if file.schema_arrow.names.count(name) > 1]:
                raise ConfigurationError(f"{path} has several columns {twice[0]}; leave one")
            yield from file.iter_batches(batch_size=ROWS_PER_BLOCK, columns=list(columns))
        else:
            table = _fits(path) if ".fits" in path.suffixes else pa_csv.read_csv(path, **arrow_options(path))
            yield from table.select(list(columns)).to_batches(max_chunksize=ROWS_PER_BLOCK)
    except (pa.ArrowInvalid, KeyError, OSError) as error:
        raise ConfigurationError(f"cannot read {', '.join(columns)} from {path}: {error}") from error


def part_of_row(row: Mapping[str, Any], columns: Columns, *, epoch_jyear: float) -> Part:
    """Return what one row of a catalogue says.

    Parameters
    ----------
    epoch_jyear
        Epoch of the positions where the row has none.
    """

    def number(column: str | None) -> float | None:
        value = None if column is None else row[column]
        if value is None or isinstance(value, str):
            return None
        return float(value) if np.isfinite(value) and float(value) not in columns.missing else None

    ra, dec = _position(row, columns, number)
    epoch = number(columns.epoch_jyear)
    label = None if columns.label is None else str(row[columns.label] or "").strip()
    period = number(columns.period_day)
    metadata = {name: number(column) for name, column in columns.metadata.items()}
    return Part(
        key=str(row[columns.id]).strip(),
        ra_deg=ra,
        dec_deg=dec,
        epoch_jyear=epoch_jyear if epoch is None else epoch,
        pm_ra_cosdec_mas_yr=number(columns.pm_ra_cosdec_mas_yr),
        pm_dec_mas_yr=number(columns.pm_dec_mas_yr),
        published_label=label or None,
        period_day=period if period is not None and period > 0 else None,
        metadata={name: value for name, value in metadata.items() if value is not None},
    )


def columns_read(columns: Columns) -> list[str]:
    """Return the names of a catalogue's columns that are read, and no others ever are."""
    single = (
        columns.id,
        columns.ra,
        columns.dec,
        columns.pm_ra_cosdec_mas_yr,
        columns.pm_dec_mas_yr,
        columns.epoch_jyear,
        columns.label,
        columns.period_day,
    )
    return list(dict.fromkeys([name for name in single if name] + list(columns.metadata.values())))


def _position(row: Mapping[str, Any], columns: Columns, number: Any) -> tuple[float | None, float | None]:
    if columns.ra is None or columns.dec is None:
        return None, None
    if isinstance(row[columns.ra], str):
        ra_text, dec_text = row[columns.ra], row[columns.dec] or ""
        if both := BOTH_IN_ONE.fullmatch(ra_text.strip()):
            ra_text, dec_text = both.groups()
        try:
            place = SkyCoord(ra_text, dec_text, unit=(u.hourangle, u.deg))
        except ValueError:  # a slip of the catalogue, which the caller counts
            return None, None
        return float(place.ra.deg), float(place.dec.deg)
    ra, dec = number(columns.ra), number(columns.dec)
    if ra is None or dec is None or abs(dec) > 90:
        return None, None
    return ra % 360.0, dec


def _fits(path: Path) -> pa.Table:
    table = Table.read(path, hdu=1)
    return pa.table({name: _filled(table[name]) for name in table.colnames if table[name].ndim == 1})


def _filled(column: Any) -> pa.Array:
    values = np.asarray(column)
    if values.dtype.kind == "S":
        values = values.astype(str)
    mask = getattr(column, "mask", None)
    native = values.astype(values.dtype.newbyteorder("="))
    return pa.array(native.tolist(), mask=None if mask is None else np.asarray(mask, np.bool_))
