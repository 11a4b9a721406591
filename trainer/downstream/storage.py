# SPDX-License-Identifier: BSD-3-Clause
"""The embeddings file: one Parquet row an object, everything that the downstream commands read.

=============================== ================== =====================================================
column                          type               meaning
=============================== ================== =====================================================
id                              string             unique in the file
object_id, survey               string             of the alert
ra_deg, dec_deg                 double             ICRS, NaN where unknown
mjd_tai                         double             time of the alert
n_epochs                        int                epochs of its light curve
source_context                  string             what the packet says the source is
label                           string or null     class by the names of `broker_plugin.taxonomy`
published, other_type           string or null     the catalogue's own spelling; a second catalogue's type
seen                            bool or null       whether the bundle was trained on it; null: not known
catalogue_period_day            double or null     of the catalogue
period_day                      double or null     found in the light curve
top_class                       string             the most probable class
probability                     list<double>       calibrated, in the order of the bundle's classes
anomaly_score, anomaly_p_value  double             of the bundle, of the fused embedding
calibration_stratum             string             what the p-value was compared with
fused                           list<float>        unit vector
embedding_<modality>            list<float>, null  unit vector; null where the object lacks the modality
features                        list<float>, null  hand-made features of the same epochs, if asked for
curve_...                       lists              at most `CURVE_EPOCHS` epochs, to be drawn
=============================== ================== =====================================================

The schema's metadata holds `About` as JSON: bundle, classes, modalities, source and setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from broker_plugin.engine.encoders import FUSED
from broker_plugin.errors import ConfigurationError
from broker_plugin.records import Access, LightCurve
from broker_plugin.streams.output_files import complete_file
from trainer.downstream.table import About, Embeddings

__all__ = ["CURVE_EPOCHS", "column_of", "read_curves", "read_embeddings", "read_features", "write_rows"]

ABOUT_KEY = b"astrom3.embeddings"

CURVE_EPOCHS = 120
"""Most epochs that are kept for drawing: more only fill the picture, and the file."""

_SCALARS: Mapping[str, pa.DataType] = {
    "id": pa.string(),
    "object_id": pa.string(),
    "survey": pa.string(),
    "ra_deg": pa.float64(),
    "dec_deg": pa.float64(),
    "mjd_tai": pa.float64(),
    "n_epochs": pa.int64(),
    "source_context": pa.string(),
    "label": pa.string(),
    "published": pa.string(),
    "other_type": pa.string(),
    "seen": pa.bool_(),
    "catalogue_period_day": pa.float64(),
    "period_day": pa.float64(),
    "top_class": pa.string(),
    "anomaly_score": pa.float64(),
    "anomaly_p_value": pa.float64(),
    "calibration_stratum": pa.string(),
}
_CURVE: Mapping[str, Any] = {
    "mjd_tai": np.float64,
    "flux_njy": np.float32,
    "flux_err_njy": np.float32,
    "band": np.int8,
    "origin": np.int8,
    "apparent": np.bool_,
}


def column_of(source: str) -> str:
    """Return the column of a source's embedding."""
    return source if source == FUSED else f"embedding_{source}"


def write_rows(path: Path, about: About, batches: Iterable[Sequence[Mapping[str, Any]]]) -> int:
    """Write embeddings row group by row group and return their number; the file appears when it is whole.

    Parameters
    ----------
    batches
        Lists of rows, a mapping from column to value each; a `LightCurve` or None under `curve`.
    """
    schema = _schema(about)
    n = 0
    with complete_file(path) as handle, pq.ParquetWriter(handle, schema, compression="zstd") as writer:
        for rows in batches:
            flat = [{**row, **_curve_columns(row["curve"])} for row in rows]
            writer.write_batch(
                pa.RecordBatch.from_arrays(
                    [pa.array([row.get(field.name) for row in flat], field.type) for field in schema],
                    schema=schema,
                )
            )
            n += len(rows)
    return n


def read_embeddings(path: Path) -> Embeddings:
    """Read a file of embeddings, without light curves and features.

    Raises
    ------
    ConfigurationError
        If it is not one, or holds no object.
    """
    about = _about(path)
    names = [*_SCALARS, "probability", *(column_of(source) for source in about.sources)]
    table = pq.read_table(path, columns=names)
    if len(table) == 0:
        raise ConfigurationError(f"{path} holds no object; make one that does with {_command(path)}")
    texts = ("label", "published", "other_type")
    numbers = ("catalogue_period_day", "period_day")
    columns: dict[str, Any] = {
        column.name: table[column.name].to_numpy()
        for column in fields(Embeddings)
        if column.name in _SCALARS and column.name not in (*texts, *numbers, "seen")
    }
    strings = [name for name, kind in _SCALARS.items() if kind == pa.string() and name in columns]
    columns |= {name: np.asarray(columns[name], np.str_) for name in strings}
    columns |= {name: np.array([each or "" for each in table[name].to_pylist()], np.str_) for name in texts}
    columns |= {name: np.array(table[name].to_pylist(), np.float64) for name in numbers}
    seen = table["seen"].to_pylist()
    vectors, present = {}, {}
    for source in about.sources:
        vectors[source], present[source] = _matrix(table[column_of(source)], about.embedding_dim)
    return Embeddings(
        about=about,
        row=np.arange(len(table)),
        **columns,
        seen=np.array([-1 if each is None else int(each) for each in seen], np.int8),
        probability=_matrix(table["probability"], len(about.classes))[0].astype(np.float64),
        vectors=vectors,
        present=present,
    )


def read_features(path: Path) -> NDArray[np.float32]:
    """Return the hand-made features (N, F).

    Raises
    ------
    ConfigurationError
        If the file has none.
    """
    n = _about(path).n_features
    if n == 0:
        raise ConfigurationError(
            f"{path} has no hand-made features to compare with; make it with `trainer embed --features`"
        )
    return _matrix(pq.read_table(path, columns=["features"])["features"], n)[0].astype(np.float32)


def read_curves(path: Path, rows: Iterable[int]) -> dict[int, LightCurve]:
    """Return the light curves of some rows, as many epochs as were kept."""
    wanted = sorted(set(rows))
    table = pq.read_table(path, columns=[f"curve_{name}" for name in _CURVE]).take(wanted)
    return {row: _curve(each) for row, each in zip(wanted, table.to_pylist(), strict=True)}


def _schema(about: About) -> pa.Schema:
    columns = [pa.field(name, kind) for name, kind in _SCALARS.items()]
    columns.append(pa.field("probability", pa.list_(pa.float64(), len(about.classes))))
    vector = pa.list_(pa.float32(), about.embedding_dim)
    columns += [pa.field(column_of(source), vector) for source in about.sources]
    if about.n_features:
        columns.append(pa.field("features", pa.list_(pa.float32(), about.n_features)))
    columns += [
        pa.field(f"curve_{name}", pa.list_(pa.from_numpy_dtype(np.dtype(kind))))
        for name, kind in _CURVE.items()
    ]
    return pa.schema(columns, metadata={ABOUT_KEY: about.model_dump_json()})


def _about(path: Path) -> About:
    try:
        metadata = pq.read_schema(path).metadata or {}
        return About.model_validate_json(metadata[ABOUT_KEY])
    except (OSError, pa.ArrowException, KeyError, ValidationError) as error:
        raise ConfigurationError(
            f"{path} is no file of embeddings that this version reads ({type(error).__name__}); make one "
            f"with {_command(path)}"
        ) from error


def _command(path: Path) -> str:
    """Return what makes embeddings, never in the place of a file: it may be the stars that are meant."""
    out = path.with_name(f"{path.stem}-embeddings.parquet") if path.exists() else path
    return f"`trainer embed --data FILE --out {out}`"


def _matrix(column: pa.ChunkedArray, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return vectors (N, width), zero where there is none, and where there is one."""
    array = column.combine_chunks()
    known = array.is_valid().to_numpy(zero_copy_only=False)
    values = np.zeros((len(array), width), array.type.value_type.to_pandas_dtype())
    values[known] = array.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return values, known


def _curve_columns(curve: LightCurve) -> dict[str, Any]:
    places = np.linspace(0, len(curve) - 1, min(CURVE_EPOCHS, len(curve)))
    kept = places.round().astype(np.int64)
    return {f"curve_{name}": getattr(curve, name)[kept].astype(kind) for name, kind in _CURVE.items()}


def _curve(columns: Mapping[str, Any]) -> LightCurve:
    n = len(columns["curve_mjd_tai"])
    return LightCurve.from_columns(
        **{name: np.array(columns[f"curve_{name}"], kind) for name, kind in _CURVE.items()},
        detector=np.zeros(n),
        access=np.full(n, Access.PUBLIC),
    )
