# SPDX-License-Identifier: BSD-3-Clause
"""What a classifier said of each star in each setting, and the Parquet file that it is kept in.

The file has a row for each star and setting: `id`, `setting`, the probability `p_<class>` of each of
`MERGED`, `anomaly_score` (larger is stranger) and `anomaly_p_value`. Every measure can be computed from it
again. What a baseline does not give is null.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError
from broker_plugin.streams.output_files import complete_file
from broker_plugin.taxonomy import canonical_class

__all__ = [
    "MERGED",
    "NEAR_ANOMALIES",
    "PredictionFile",
    "Predictions",
    "joined_predictions",
    "merged_label",
    "near_anomaly",
    "predictions_table",
    "read_predictions",
    "unlearned",
    "write_predictions",
]

FloatArray = NDArray[np.float64]

MERGED: Mapping[str, tuple[str, ...]] = {
    "ECL": ("EW", "EB", "Ecl_contact_semidetached"),
    "EA": ("EA", "EA_detached"),
    "RRAB": ("RRAB", "RRab", "Blazhko"),
    "RRC": ("RRC", "RRc"),
    "ROT": ("ROT",),
    "LPV": ("LPV", "M", "SR"),
    "DSCT": ("DSCT", "HADS"),
}
"""Classes that are measured, and the spellings of bundles and of the catalogue that fall into each."""

NEAR_ANOMALIES = ("RRD", "CEP")
"""Classes of pulsating stars that resemble those, to be found as strange by a bundle that has not learned
them."""

COLUMNS = ("id", "setting", *(f"p_{name}" for name in MERGED), "anomaly_score", "anomaly_p_value")

FURTHER = ("decided", "stratum", "calibration_n")
"""Columns of a file that holds everything; no one who checks the measures needs them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What is said in one setting; columns over stars (S,), probabilities (S, len(MERGED)).

    Parameters
    ----------
    decided
        Position in `MERGED` of the class that the bundle's decision rule names, -1 where it is none of them;
        None where only probabilities are known.
    stratum, calibration_n
        Name and size of the stratum that the p-value rests on; None where there is none or it was not kept.
    oddity
        The likeliest of what may be odd about the star, empty for a bundle that knows no oddities; None where
        it was not kept.
    """

    probability: FloatArray
    anomaly_score: FloatArray
    anomaly_p_value: FloatArray
    decided: NDArray[np.int64] | None = None
    stratum: NDArray[np.str_] | None = None
    calibration_n: NDArray[np.int64] | None = None
    oddity: NDArray[np.str_] | None = None

    @property
    def classifies(self) -> bool:
        """Whether every star has probabilities; an isolation forest gives none."""
        return bool(np.isfinite(self.probability).all())

    def take(self, rows: NDArray[np.intp]) -> Predictions:
        """Return some of the stars."""
        columns = {column.name: getattr(self, column.name) for column in fields(self)}
        kept: dict[str, Any] = {
            name: None if values is None else values[rows] for name, values in columns.items()
        }
        return Predictions(**kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionFile:
    """The stars (S,) of a file, and the predictions of each setting in their order.

    Parameters
    ----------
    about
        What the writer said of it, text by text.
    """

    star_id: NDArray[np.int64]
    by_setting: Mapping[str, Predictions]
    about: Mapping[str, str]


def merged_label(published: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return the position in `MERGED` of published classes, in any spelling, -1 where they are none of these.

    Examples
    --------
    >>> merged_label(np.array(["EA_detached", "Beta Persei", "RRd"]))
    array([ 1,  1, -1])
    """
    position = {canonical_class(each): k for k, spellings in enumerate(MERGED.values()) for each in spellings}
    return np.array([position.get(canonical_class(str(each)) or "", -1) for each in published], np.int64)


def near_anomaly(published: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Return which published classes are near anomalies, in any spelling.

    Examples
    --------
    >>> near_anomaly(np.array(["RRd", "RRab"]))
    array([ True, False])
    """
    return np.array([canonical_class(str(each)) in NEAR_ANOMALIES for each in published], np.bool_)


def unlearned(published: NDArray[np.str_], learned: Collection[str]) -> NDArray[np.str_]:
    """Return published classes, empty where a bundle has learned what else would be a near anomaly.

    Such a star is in no measure: it is none of `MERGED`, and not to be found as strange.

    Examples
    --------
    >>> unlearned(np.array(["RRd", "ACEP", "EA"]), ["EA", "RRD"]).tolist()
    ['', 'ACEP', 'EA']
    """
    is_learned = np.array([canonical_class(str(each)) in learned for each in published], np.bool_)
    return np.where(near_anomaly(published) & is_learned, "", published)


def joined_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Return predictions of the stars of each part behind one another."""
    columns = {column.name: [getattr(part, column.name) for part in parts] for column in fields(Predictions)}
    joined: dict[str, Any] = {
        name: None if any(part is None for part in values) else np.concatenate(values)
        for name, values in columns.items()
    }
    return Predictions(**joined)


def predictions_table(
    star_id: NDArray[np.generic],
    by_setting: Mapping[str, Predictions],
    *,
    about: Mapping[str, str] | None = None,
    whole: bool = False,
) -> pa.Table:
    """Return predictions of stars in every setting as they are written; NaN becomes null.

    Parameters
    ----------
    whole
        Everything that is known, in further columns.
    """
    tables = [
        pa.table(
            {
                "id": star_id,
                "setting": [setting] * len(star_id),
                **{f"p_{name}": _column(found.probability[:, k]) for k, name in enumerate(MERGED)},
                "anomaly_score": _column(found.anomaly_score),
                "anomaly_p_value": _column(found.anomaly_p_value),
                **({name: getattr(found, name) for name in FURTHER} if whole else {}),
            }
        )
        for setting, found in by_setting.items()
    ]
    return pa.concat_tables(tables).replace_schema_metadata(dict(about or {}))


def write_predictions(path: Path, table: pa.Table) -> None:
    """Write a `predictions_table`, with its folder; an older file stays until the new one is whole."""
    with complete_file(path) as file:
        pq.write_table(table, file)


def read_predictions(path: Path) -> PredictionFile:
    """Read what `write_predictions` or anyone else wrote in its layout.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, lacks a column, or a setting lacks a star or has it twice.
    """
    try:
        there = pq.read_schema(path).names
        table = pq.read_table(path, columns=[*COLUMNS, *(name for name in FURTHER if name in there)])
    except (OSError, pa.ArrowException) as error:
        raise ConfigurationError(
            f"cannot read predictions from {path}: {error}; `trainer evaluate --predictions` writes them"
        ) from error
    star = table["id"].to_numpy()
    setting = np.array(table["setting"].to_pylist(), np.str_)
    probability = np.stack([_numbers(table[f"p_{name}"]) for name in MERGED], axis=1)
    further = {name: np.array(table[name].to_pylist()) for name in FURTHER if name in there}
    score, p_value = (_numbers(table[name]) for name in ("anomaly_score", "anomaly_p_value"))
    star_id = np.unique(star)
    by_setting = {}
    for name in dict.fromkeys(setting.tolist()):
        rows = np.flatnonzero(setting == name)
        rows = rows[np.argsort(star[rows], kind="stable")]
        if not np.array_equal(star[rows], star_id):
            raise ConfigurationError(f"{path}: not every star is once in setting {name}; write it again")
        by_setting[name] = Predictions(
            probability=probability[rows],
            anomaly_score=score[rows],
            anomaly_p_value=p_value[rows],
            **{column: values[rows] for column, values in further.items()},
        )
    metadata = table.schema.metadata or {}
    return PredictionFile(
        star_id=star_id,
        by_setting=by_setting,
        about={key.decode(): value.decode() for key, value in metadata.items()},
    )


def _column(values: FloatArray) -> pa.Array:
    return pa.array(values, pa.float64(), from_pandas=True)


def _numbers(column: pa.ChunkedArray) -> FloatArray:
    values: FloatArray = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values
