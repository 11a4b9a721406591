# SPDX-License-Identifier: BSD-3-Clause
"""Catalogues from files, as rows of context: Parquet, CSV and FITS tables, a portion at a time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from broker_plugin.errors import ConfigurationError
from broker_plugin.object_names import surveyed_name
from broker_plugin.records import METADATA_COLUMNS, Access, Spectrum
from broker_plugin.store.catalogue_values import is_possible
from broker_plugin.store.context import ContextRow
from broker_plugin.vizier import arrow_options

__all__ = ["CatalogueColumns", "count_rows", "read_rows"]

PORTION = 2_000
"""Rows that are read at a time: with spectra some 100 MB."""

TEXT_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
"""Tabs part the cells of what VizieR writes, and of nothing else that is read."""

FITS_SUFFIXES = frozenset({".fits", ".fit", ".fits.gz"})

SPECTRUM_COLUMNS = ("wave_aa", "spectrum_flux", "spectrum_inverse_variance")
"""Columns of a spectrum, as `trainer build` writes them; wavelengths in vacuum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueColumns:
    """Which column of a file is what.

    Parameters
    ----------
    catalogue
        Name of the catalogue; with `source` the identity of a row.
    source
        Column of the row's own identifier.
    object_id
        Column of the object as alerts name it, or without the survey; empty where positions decide.
    ra, dec
        Columns of the position, ICRS, degrees.
    values
        Column of the file by our name; our own names are taken where they occur.
    access
        Who may see the rows.
    """

    catalogue: str
    source: str
    object_id: str = ""
    ra: str = "ra_deg"
    dec: str = "dec_deg"
    values: Mapping[str, str] = field(default_factory=dict)
    access: Access = Access.PRIVATE

    def __post_init__(self) -> None:
        unknown = sorted(set(self.values) - set(METADATA_COLUMNS))
        if unknown:
            raise ConfigurationError(
                f"no bundle can read {', '.join(unknown)}",
                remedy=f"choose from {', '.join(METADATA_COLUMNS)}",
            )


def count_rows(path: Path) -> int | None:
    """Return the number of rows where the file says it, for a progress bar."""
    if path.suffix == ".parquet":
        with _explained(path):
            return int(pyarrow.parquet.read_metadata(path).num_rows)
    return None


def read_rows(
    path: Path, columns: CatalogueColumns, *, skip: int = 0, unread: Counter[str] | None = None
) -> Iterator[tuple[int, list[ContextRow]]]:
    """Yield portions: how many rows of the file are done with it, and those that say something.

    Parameters
    ----------
    skip
        Rows at the beginning that are not to be read again; a number that was yielded.
    unread
        Counts by column the cells that should be numbers and are other text, or numbers that cannot be, and
        objects that no alert can be of; they count as empty.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, or lacks a column.
    """
    done = 0
    unread = Counter() if unread is None else unread
    for table in _tables(path, columns):
        for begin in range(0, table.num_rows, PORTION):
            portion = table.slice(begin, PORTION)
            done += portion.num_rows
            if done > skip:
                yield done, _rows(portion, path, columns, unread)


def _tables(path: Path, columns: CatalogueColumns) -> Iterator[Any]:
    name = path.name.lower()
    with _explained(path):
        if name.endswith(".parquet"):
            with pyarrow.parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=PORTION):
                    yield pa.Table.from_batches([batch])
        elif name.endswith(TEXT_SUFFIXES):
            form = arrow_options(path)
            form["convert_options"] = _as_written(path, columns, form)
            with pyarrow.csv.open_csv(path, **form) as reader:
                for batch in reader:
                    yield pa.Table.from_batches([batch])
        elif name.endswith(tuple(FITS_SUFFIXES)):
            yield _fits_table(path)
        else:
            raise ConfigurationError(
                f"{path} is no catalogue that can be read", remedy="give .parquet, .csv or .fits"
            )


def _as_written(path: Path, columns: CatalogueColumns, form: Mapping[str, Any]) -> Any:
    """Return options that leave cells of a CSV file as they are: one that fits no guess costs no other."""
    with pyarrow.csv.open_csv(path, **form) as reader:
        names = reader.schema.names
    text = {columns.source, columns.object_id, columns.ra, columns.dec, *columns.values.values()}
    text |= set(METADATA_COLUMNS)
    types = {name: pa.string() if name in text else pa.binary() for name in names}
    return pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=True)


def _fits_table(path: Path) -> Any:
    try:
        from astropy.table import Table
    except ImportError as missing:
        raise ConfigurationError(
            f"{path} is FITS, which takes astropy",
            remedy="pip install 'astrom3-broker[train]', or convert it to Parquet or CSV",
        ) from missing
    table = Table.read(path, format="fits")
    columns = {}
    for name in table.colnames:
        column = table[name]
        values = np.ma.getdata(column)
        if values.ndim != 1:
            continue
        if values.dtype.kind == "S":
            values = np.char.strip(np.char.decode(values, "ascii", "replace"))
        masked = np.ma.getmaskarray(column)
        # FITS is big-endian.
        columns[name] = pa.array(values.astype(values.dtype.newbyteorder("=")), mask=masked)
    return pa.table(columns)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error


def _rows(table: Any, path: Path, columns: CatalogueColumns, unread: Counter[str]) -> list[ContextRow]:
    where = [columns.object_id] if columns.object_id else [columns.ra, columns.dec]
    wanted = [columns.source, *where]
    wanted += columns.values.values()
    absent = [name for name in wanted if name not in table.column_names]
    if absent:
        raise ConfigurationError(
            f"{path} has no column {', '.join(absent)}", remedy=f"it has {', '.join(table.column_names)}"
        )
    source_of = {name: name for name in METADATA_COLUMNS if name in table.column_names} | dict(columns.values)
    spectral = [name for name in SPECTRUM_COLUMNS if name in table.column_names]
    kept = {*wanted, *source_of.values(), *(spectral if len(spectral) == len(SPECTRUM_COLUMNS) else ())}
    records = table.select([name for name in table.column_names if name in kept]).to_pylist()
    for record in records:
        unread.update(_unread(record, columns, source_of))
    rows = (_row(record, columns, source_of) for record in records)
    return [row for row in rows if row is not None]


def _row(
    record: Mapping[str, Any], columns: CatalogueColumns, source_of: Mapping[str, str]
) -> ContextRow | None:
    values = {name: _value(name, record[source]) for name, source in source_of.items()}
    known = {name: value for name, value in values.items() if value is not None}
    spectrum = _spectrum(record, columns.access)
    source_id = record[columns.source]
    if source_id in (None, "") or not (known or spectrum):
        return None
    common: dict[str, Any] = {
        "catalogue": columns.catalogue,
        "source_id": str(source_id).strip(),
        "values": known,
        "spectrum": spectrum,
        "access": columns.access,
    }
    if columns.object_id:
        named = _object(record[columns.object_id])
        return ContextRow(**common, object_id=named) if named else None
    ra_deg, dec_deg = _number(record[columns.ra]), _number(record[columns.dec])
    if ra_deg is None or dec_deg is None or not (0 <= ra_deg <= 360 and abs(dec_deg) <= 90):
        return None
    return ContextRow(**common, ra_deg=ra_deg, dec_deg=dec_deg)


def _unread(record: Mapping[str, Any], columns: CatalogueColumns, source_of: Mapping[str, str]) -> set[str]:
    """Return the columns whose cells of a row hold something that is taken as nothing."""
    found = {
        source
        for name, source in source_of.items()
        if _is_text(record[source]) or _number(record[source]) != _value(name, record[source])
    }
    if not columns.object_id:
        return found | {name for name in (columns.ra, columns.dec) if _is_text(record[name])}
    named = record[columns.object_id]
    return found | ({columns.object_id} if named and not _object(named) else set())


def _is_text(cell: object) -> bool:
    return isinstance(cell, str) and bool(cell.strip()) and _parsed(cell) is None


def _object(cell: object) -> str | None:
    return surveyed_name(str(cell)) if cell else None


def _value(name: str, cell: object) -> float | None:
    """Return the value of one of our columns, None where the cell holds none."""
    number = _number(cell)
    return number if number is not None and is_possible(name, number) else None


def _parsed(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)  # Python reads 1_5 as 15
    except ValueError:
        return None


def _number(value: object) -> float | None:
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    single = float(np.float32(value)) if abs(value) < 3e38 else math.inf
    return float(value) if math.isfinite(single) else None


def _spectrum(record: Mapping[str, Any], access: Access) -> Spectrum | None:
    parts: Sequence[Any] = [record.get(name) for name in SPECTRUM_COLUMNS]
    if not all(isinstance(part, list) and part for part in parts) or len({len(part) for part in parts}) != 1:
        return None
    wave, flux, weight = parts
    return Spectrum(
        wave_aa=np.array(wave, np.float64),
        flux=np.array(flux, np.float32),
        inverse_variance=np.array(weight, np.float32),
        access=access,
    )
