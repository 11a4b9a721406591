# SPDX-License-Identifier: BSD-3-Clause
"""The multimodal dataset: one Parquet file, one row an object, every modality nullable.

=========================== ================ ======================================================
column                      type             meaning
=========================== ================ ======================================================
object_id                   string           unique in the file
ra_deg, dec_deg             double or null   ICRS, at the epoch of the object's catalogue; null where the
                                             source gives none
label                       string or null   class by the names of `broker_plugin.taxonomy`
published_label             string or null   the catalogue's own spelling
split                       string           one of `SPLITS`
source                      string           survey or catalogue of the light curve, else of the row
simulated                   bool             True where the object was made up
period_day                  double or null   the catalogue's period; no input unless one asks for it
mjd_tai                     list<double>     epochs in order of time; null without a light curve
flux_njy, flux_err_njy      list<float>      apparent flux and its standard deviation
band                        list<int8>       position in `taxonomy.PASSBANDS`
wave_aa                     list<double>     vacuum, increasing; null without a spectrum
spectrum_flux               list<float>      in the units of its source
spectrum_inverse_variance   list<float>      0 where a pixel is not to be used
`records.METADATA_COLUMNS`  float or null    one column each
=========================== ================ ======================================================

A file need not have the columns `label`, `published_label` and `period_day`.

The schema's metadata holds the version of this layout and the SHA-256 of the data card. Files are written
and read a row group at a time; equal rows give equal bytes.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError
from broker_plugin.records import METADATA_COLUMNS, Access, Alert, LightCurve, Origin, Provenance, Spectrum
from broker_plugin.streams.output_files import complete_file
from trainer.data.catalina import FILE
from trainer.data.object_row import SPLITS, ObjectRow, check_row

__all__ = [
    "FORMAT_VERSION",
    "SPLITS",
    "ObjectRow",
    "alert_of",
    "alerts_of",
    "card_digest_of",
    "count_objects",
    "iter_objects",
    "objects_schema",
    "write_objects",
    "write_rows",
]

FORMAT_VERSION = "1"
"""Version of the layout; a reader refuses any other."""

ROWS_PER_GROUP = 1000
"""Rows of a row group: about 5 MB of light curves, or 50 MB of spectra, in memory at a time."""

J2000_MJD_TAI = 51544.5
"""Time of an alert made from an object without epochs; nothing is measured from it."""

VERSION_KEY, CARD_KEY = b"astrom3.objects.version", b"astrom3.objects.card_sha256"

_SCALARS: Mapping[str, pa.DataType] = {
    "object_id": pa.string(),
    "ra_deg": pa.float64(),
    "dec_deg": pa.float64(),
    "label": pa.string(),
    "published_label": pa.string(),
    "split": pa.string(),
    "source": pa.string(),
    "simulated": pa.bool_(),
    "period_day": pa.float64(),
}
_NULLABLE = frozenset({"ra_deg", "dec_deg", "label", "published_label", "period_day"})
_OPTIONAL = frozenset({"label", "published_label", "period_day"})
_LIGHT_CURVE: Mapping[str, tuple[pa.DataType, Any]] = {
    "mjd_tai": (pa.float64(), np.float64),
    "flux_njy": (pa.float32(), np.float32),
    "flux_err_njy": (pa.float32(), np.float32),
    "band": (pa.int8(), np.int8),
}
_SPECTRUM: Mapping[str, tuple[str, pa.DataType, Any]] = {
    "wave_aa": ("wave_aa", pa.float64(), np.float64),
    "spectrum_flux": ("flux", pa.float32(), np.float32),
    "spectrum_inverse_variance": ("inverse_variance", pa.float32(), np.float32),
}


def objects_schema(card_sha256: str = "") -> pa.Schema:
    """Return the Arrow schema of the file, with the data card's digest in its metadata."""
    columns = [pa.field(name, kind, name in _NULLABLE) for name, kind in _SCALARS.items()]
    columns += [pa.field(name, pa.list_(kind)) for name, (kind, _) in _LIGHT_CURVE.items()]
    columns += [pa.field(name, pa.list_(kind)) for name, (_, kind, _) in _SPECTRUM.items()]
    columns += [pa.field(name, pa.float32()) for name in METADATA_COLUMNS]
    return pa.schema(columns, metadata={VERSION_KEY: FORMAT_VERSION, CARD_KEY: card_sha256})


def write_objects(path: Path, rows: Iterable[ObjectRow], *, card_sha256: str = "") -> int:
    """Write objects to a Parquet file, with its folder, and return their number; see `write_rows`.

    The file appears under its name only when it is whole.

    Raises
    ------
    ConfigurationError
        If it cannot be written.
    """
    with complete_file(path) as file:
        return write_rows(file, rows, card_sha256=card_sha256)


def write_rows(file: BinaryIO, rows: Iterable[ObjectRow], *, card_sha256: str = "") -> int:
    """Write objects to an open file as Parquet, a row group at a time, and return their number.

    Raises
    ------
    ValueError
        If a row breaks the layout: an unknown split or column, an id twice, a position, flux or time that is
        not finite, epochs out of order, or wavelengths that do not increase.
    """
    schema = objects_schema(card_sha256)
    seen: set[str] = set()
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        iterator = iter(rows)
        while group := list(itertools.islice(iterator, ROWS_PER_GROUP)):
            for row in group:
                check_row(row)
                if row.object_id in seen:
                    raise ValueError(f"{row.object_id}: this id is there twice")
                seen.add(row.object_id)
            writer.write_batch(_batch(group, schema), row_group_size=ROWS_PER_GROUP)
    return len(seen)


def iter_objects(path: Path, *, split: str | None = None) -> Iterator[ObjectRow]:
    """Yield the objects of a file in its order, a row group in memory at a time.

    Parameters
    ----------
    split
        Yield those of one split only.

    Raises
    ------
    ConfigurationError
        If the file is not there or is not laid out so.
    """
    if split is not None and split not in SPLITS:
        raise ConfigurationError(f"no split {split!r}; there are {', '.join(SPLITS)}")
    with _opened(path) as file:
        for number in range(file.num_row_groups):
            for batch in file.read_row_group(number).to_batches():
                yield from _rows(batch, split)


def alert_of(row: ObjectRow) -> Alert:
    """Return an object as the alert that its last epoch would be, everything about it public.

    The label, the period and the split do not enter. The survey is the row's source, and the alert's number
    is made of its id. An object without a position gives an alert at NaN, which is for training only.
    """
    light_curve = row.light_curve if row.light_curve is not None else LightCurve.empty()
    number = int.from_bytes(hashlib.blake2b(row.object_id.encode(), digest_size=8).digest()) >> 1
    return Alert(
        survey=row.source,
        alert_id=number,
        object_id=row.object_id,
        ra_deg=math.nan if row.ra_deg is None else row.ra_deg,
        dec_deg=math.nan if row.dec_deg is None else row.dec_deg,
        mjd_tai=float(light_curve.mjd_tai[-1]) if len(light_curve) else J2000_MJD_TAI,
        light_curve=light_curve,
        metadata=dict(row.metadata),
        spectrum=row.spectrum,
        provenance=Provenance(topic="objects"),
    )


def alerts_of(path: Path, *, split: str | None = None) -> Iterator[Alert]:
    """Yield the objects of a file as alerts; see `alert_of` and `iter_objects`."""
    return map(alert_of, iter_objects(path, split=split))


def count_objects(path: Path) -> int:
    """Return the number of objects of a file, from its footer."""
    with _opened(path) as file:
        return int(file.metadata.num_rows)


def card_digest_of(path: Path) -> str:
    """Return the SHA-256 of the data card that a file was written with, empty if with none."""
    with _opened(path) as file:
        return str(file.schema_arrow.metadata[CARD_KEY].decode())


def _opened(path: Path) -> pq.ParquetFile:
    if not path.is_file():
        raise ConfigurationError(f"no dataset at {path}; make one with `trainer build` or `trainer simulate`")
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ConfigurationError(f"{path} is no Parquet file: {error}") from error
    version = (file.schema_arrow.metadata or {}).get(VERSION_KEY)
    if version is None:
        raise ConfigurationError(
            f"{path} is no dataset of `trainer build` or `trainer simulate`; light curves of stars are read "
            f"from a folder that holds {FILE}: give --data that folder"
        )
    if version != FORMAT_VERSION.encode():
        raise ConfigurationError(
            f"{path} has dataset version {version.decode()}, this software reads {FORMAT_VERSION}; build it "
            "anew"
        )
    return file


def _batch(rows: Sequence[ObjectRow], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array([getattr(row, name) for row in rows], kind) for name, kind in _SCALARS.items()]
    curves = [row.light_curve for row in rows]
    arrays += [
        _lists([None if curve is None else getattr(curve, name) for curve in curves], *types)
        for name, types in _LIGHT_CURVE.items()
    ]
    spectra = [row.spectrum for row in rows]
    arrays += [
        _lists([None if spectrum is None else getattr(spectrum, name) for spectrum in spectra], *types)
        for name, *types in _SPECTRUM.values()
    ]
    arrays += [pa.array([row.metadata.get(name) for row in rows], pa.float32()) for name in METADATA_COLUMNS]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _lists(values: Sequence[NDArray[Any] | None], kind: pa.DataType, dtype: Any) -> pa.ListArray:
    lengths = [0 if value is None else len(value) for value in values]
    known = [np.asarray(value, dtype) for value in values if value is not None]
    return pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32()),
        pa.array(np.concatenate([np.zeros(0, dtype), *known]), kind),
        type=pa.list_(kind),
        mask=pa.array([value is None for value in values]),
    )


def _rows(batch: pa.RecordBatch, split: str | None) -> Iterator[ObjectRow]:
    there = [name for name in _SCALARS if name not in _OPTIONAL or name in batch.schema.names]
    scalars: dict[str, list[Any]] = dict.fromkeys(_SCALARS, [None] * batch.num_rows)
    scalars |= {name: batch.column(name).to_pylist() for name in there}
    metadata = {name: batch.column(name).to_pylist() for name in METADATA_COLUMNS}
    epochs = {name: _arrays(batch.column(name)) for name in _LIGHT_CURVE}
    pixels = {field: _arrays(batch.column(name)) for name, (field, *_) in _SPECTRUM.items()}
    for row in range(batch.num_rows):
        if split is not None and scalars["split"][row] != split:
            continue
        yield ObjectRow(
            **{name: values[row] for name, values in scalars.items()},
            metadata={name: values[row] for name, values in metadata.items() if values[row] is not None},
            light_curve=_light_curve({name: values[row] for name, values in epochs.items()}),
            spectrum=_spectrum({name: values[row] for name, values in pixels.items()}),
        )


def _arrays(column: pa.ListArray) -> list[NDArray[Any] | None]:
    values = column.values.to_numpy(zero_copy_only=False)
    known = column.is_valid().to_numpy(zero_copy_only=False)
    edges = itertools.pairwise(column.offsets.to_numpy())
    return [values[a:b] if valid else None for (a, b), valid in zip(edges, known, strict=True)]


def _light_curve(columns: Mapping[str, NDArray[Any] | None]) -> LightCurve | None:
    mjd_tai = columns["mjd_tai"]
    if mjd_tai is None:
        return None
    n = len(mjd_tai)
    return LightCurve(
        **{name: np.asarray(columns[name], dtype) for name, (_, dtype) in _LIGHT_CURVE.items()},
        origin=np.full(n, Origin.DETECTION, np.int8),
        apparent=np.ones(n, np.bool_),
        detector=np.zeros(n, np.int32),
        access=np.full(n, Access.PUBLIC, np.int8),
    )


def _spectrum(columns: Mapping[str, NDArray[Any] | None]) -> Spectrum | None:
    if columns["wave_aa"] is None:
        return None
    return Spectrum(
        **{name: np.asarray(columns[name], dtype) for name, _, dtype in _SPECTRUM.values()},
        access=Access.PUBLIC,
    )
