# SPDX-License-Identifier: BSD-3-Clause
"""The columns of a file of stars, a row a star with lists of its epochs; what cannot be read is said."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError

__all__ = ["COLUMNS", "SERIES", "epochs_of", "is_period", "numbers_of", "read_columns"]

FloatArray = NDArray[np.float64]

EXACT_BELOW = 2.0**53
"""From here on numbers with a point are no longer every whole number."""

SERIES = ("mjd", "mag", "mag_err")

COLUMNS = ("id", "ra", "dec", "l", "b", "period", "sss_class", *SERIES)

PERIOD_MAX_DAY = 1e5
"""No survey is as long, so that nobody knows such a period."""


def is_period(period_day: FloatArray) -> NDArray[np.bool_]:
    """Tell which numbers can be periods, in days."""
    return (period_day > 0) & (period_day < PERIOD_MAX_DAY)


def read_columns(path: Path, *, optional: Collection[str] = ()) -> pa.Table:
    """Return the columns of a file, null where it need not have one and has not.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, has not these columns, holds no star or one without an id.
    """
    try:
        there = pq.read_schema(path).names
        missing = [name for name in COLUMNS if name not in there]
        may_miss = f", of which {', '.join(optional)} may be missing" if optional else ""
        if needed := [name for name in missing if name not in optional]:
            raise ConfigurationError(
                f"{path} has no column {', '.join(needed)}; stars are read from a Parquet file with the "
                f"columns {', '.join(COLUMNS)}{may_miss}"
            )
        if twice := [name for name in COLUMNS if there.count(name) > 1]:
            raise ConfigurationError(f"{path} has several columns {twice[0]}; leave one")
        table = pq.read_table(path, columns=[name for name in COLUMNS if name in there])
    except (OSError, pa.ArrowException) as error:
        raise ConfigurationError(f"cannot read stars from {path}: {error}; give a Parquet file") from error
    if len(table) == 0:
        raise ConfigurationError(f"{path} holds no star")
    if pc.any(pc.is_null(table["id"], nan_is_null=True)).as_py():
        raise ConfigurationError(f"{path}: a star has no id; give each one")
    table = table.set_column(table.schema.get_field_index("id"), "id", _ids(table["id"], path))
    for name in missing:
        table = table.append_column(name, pa.nulls(len(table)))
    return table


def _ids(column: pa.ChunkedArray, path: Path) -> pa.ChunkedArray:
    """Return ids as whole numbers or as text; 7.0, as a table with gaps has it, is 7."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column
    try:
        if pa.types.is_floating(kind) and pc.max(pc.abs(column)).as_py() < EXACT_BELOW:
            return column.cast(pa.int64())  # refuses what is no whole number
    except pa.ArrowException:
        pass
    raise ConfigurationError(
        f"{path}: column id must hold whole numbers or text, and is {kind}",
        remedy="write the ids as they are in the catalogue: digits of large numbers with a point are lost",
    )


def epochs_of(table: pa.Table, path: Path) -> list[list[FloatArray]]:
    """Return the epochs of each star, column by column of `SERIES`.

    Raises
    ------
    ConfigurationError
        If a column holds no lists of numbers, or a star's lists differ in length.
    """
    found = []
    for name in SERIES:
        try:
            column = table[name].combine_chunks().cast(pa.list_(pa.float64()))
        except pa.ArrowException as error:
            raise ConfigurationError(
                f"{path}: column {name} must hold a list of numbers for each star, and is {table[name].type}"
            ) from error
        values = column.values.to_numpy(zero_copy_only=False)
        found.append([values[a:b] for a, b in pairwise(column.offsets.to_numpy())])
    for star_id, *each in zip(table["id"].to_pylist(), *found, strict=True):
        numbers = [str(len(column)) for column in each]
        if len(set(numbers)) > 1:
            raise ConfigurationError(
                f"{path}: star {star_id} has {', '.join(numbers)} values of {', '.join(SERIES)}; these must "
                "be as many"
            )
    return found


def numbers_of(table: pa.Table, name: str, path: Path) -> FloatArray:
    """Return a column as numbers, NaN where it is null.

    Raises
    ------
    ConfigurationError
        If it holds anything else.
    """
    try:
        values: FloatArray = table[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise ConfigurationError(f"{path}: column {name} must hold numbers: {error}") from error
    return values
