# SPDX-License-Identifier: BSD-3-Clause
"""Survey fields as data: where a value lies in a packet, in which unit, and how "missing" is spelt there.

An adapter is a handful of tables of `Field`s. Today they are read out of decoded records, row by row; a
decoder that is compiled from a writer schema can fill the same columns from the same tables. Inside
`surveys/`, NaN in a column of numbers, -1 in a column of integers and `None` in a column of texts mean
"missing"; nothing else in the package ever sees them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.errors import RejectedAlert, RejectReason

__all__ = [
    "MISSING_INTEGER",
    "Field",
    "Kind",
    "RecordTable",
    "integer",
    "number",
    "numbers",
    "read_columns",
    "required_integer",
    "required_number",
    "required_text",
    "rows_of",
    "text",
]

MISSING_INTEGER = -1
"""Stands for a missing integer inside `surveys/`. No survey counts, identifies or numbers with negatives."""

INT64_MAX = 2**63 - 1
"""Identifiers are int64 columns; a larger one would wrap around to the identity of another source."""

MISSING_TEXTS = frozenset({"", "null", "nan", "none"})
"""Texts, in lower case, that stand for nothing. ZTF writes the name of no asteroid as "null"."""


TEXT_MAX = 200
"""Longest text that is taken for a name; names become message keys and lines on terminals."""


class Kind(StrEnum):
    """What a field holds."""

    NUMBER = "number"
    INTEGER = "integer"
    TEXT = "text"
    ANY = "any"
    """Read as it is, for the few fields that one survey spells in several types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a survey's record.

    Parameters
    ----------
    name
        Our name, with unit and frame.
    path
        The survey's name inside its record.
    unit
        The survey's unit, before `scale`.
    scale
        Multiplies the survey's value to give ours.
    sentinels
        Values that mean "missing". Null, NaN, infinity and absence mean it in every field.
    low, high
        Values outside are impossible; they count as missing where the field is optional.
    required
        Whether an alert cannot be made without it.
    expected
        Whether a schema without it is worse than the survey's usual ones.
    since
        The survey's schema version that brought it; earlier ones are no worse for lacking it.
    """

    name: str
    path: str
    kind: Kind = Kind.NUMBER
    unit: str = ""
    scale: float = 1.0
    sentinels: tuple[float, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    required: bool = False
    expected: bool = True
    since: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTable:
    """The fields of one record, or of the records of one array, of a packet; `since` as for a field."""

    path: str
    fields: tuple[Field, ...]
    since: tuple[int, int] = (0, 0)
    by_name: Mapping[str, Field] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {entry.name: entry for entry in self.fields})

    def __getitem__(self, name: str) -> Field:
        """Return the field with our name `name`."""
        return self.by_name[name]


def rows_of(packet: Mapping[str, Any], path: str) -> list[Mapping[str, Any]]:
    """Return the records of an array field; null, absent, empty and anything else give none."""
    rows = packet.get(path)
    if not isinstance(rows, (list, tuple)):
        return []
    return [row for row in rows if isinstance(row, Mapping)]


def number(record: Mapping[str, Any], field: Field) -> float | None:
    """Return a number in our unit, or None where it is missing or impossible.

    Examples
    --------
    >>> drb = Field(name="reliability", path="drb", low=0, high=1)
    >>> number({"drb": 0.5}, drb), number({"drb": None}, drb), number({"drb": "0.5"}, drb)
    (0.5, None, None)
    """
    value = _plain(record.get(field.path))
    if value is None or value in field.sentinels:
        return None
    value *= field.scale
    return value if math.isfinite(value) and field.low <= value <= field.high else None


def integer(record: Mapping[str, Any], field: Field) -> int | None:
    """Return an integer, or None where it is missing, impossible or larger than int64."""
    value = record.get(field.path)
    if type(value) is not int or value in field.sentinels or not 0 <= value <= INT64_MAX:
        return None
    return value if field.low <= value <= field.high else None


def text(record: Mapping[str, Any], field: Field) -> str | None:
    """Return a text, or None where it is missing in any spelling."""
    value = record.get(field.path)
    if not isinstance(value, str) or value.strip().lower() in MISSING_TEXTS:
        return None
    return value if len(value) <= TEXT_MAX and value.isprintable() else None


def required_number(record: Mapping[str, Any], field: Field) -> float:
    """Return a number in our unit.

    Raises
    ------
    RejectedAlert
        If it is missing (`MISSING_FIELD`) or impossible (`INVALID_VALUE`).
    """
    value = number(record, field)
    if value is None:
        raise _rejection(record, field)
    return value


def required_integer(record: Mapping[str, Any], field: Field) -> int:
    """Return an integer; raises as `required_number` does."""
    value = integer(record, field)
    if value is None:
        raise _rejection(record, field)
    return value


def required_text(record: Mapping[str, Any], field: Field) -> str:
    """Return a text; raises as `required_number` does."""
    value = text(record, field)
    if value is None:
        raise _rejection(record, field)
    return value


def numbers(rows: Sequence[Mapping[str, Any]], fields: Sequence[Field]) -> NDArray[np.float64]:
    """Return columns of numbers in our units, NaN where missing or impossible; shape (F, T)."""
    raw = [[row.get(field.path) for row in rows] for field in fields]
    for position, values in enumerate(raw):
        if not set(map(type, values)) <= {float, type(None)}:
            raw[position] = [_plain(value) for value in values]
    columns = np.array(raw, np.float64).reshape(len(fields), len(rows))
    known = np.isfinite(columns)
    for column, is_known, field in zip(columns, known, fields, strict=True):
        for sentinel in field.sentinels:
            is_known &= column != sentinel
        if field.scale != 1.0:
            with np.errstate(over="ignore"):
                column *= field.scale
    low, high = np.array([(field.low, field.high) for field in fields]).reshape(-1, 2).T[:, :, None]
    known &= (columns >= low) & (columns <= high) & np.isfinite(columns)
    columns[~known] = np.nan
    return columns


def integers(rows: Sequence[Mapping[str, Any]], field: Field) -> NDArray[np.int64]:
    """Return a column of integers, `MISSING_INTEGER` where missing or impossible; shape (T,)."""
    values = [integer(row, field) for row in rows]
    return np.array([MISSING_INTEGER if value is None else value for value in values], np.int64)


def read_columns(rows: Sequence[Mapping[str, Any]], table: RecordTable) -> dict[str, Any]:
    """Return the columns of a table by our names: float64 and int64 arrays, lists for the other kinds."""
    numeric = [field for field in table.fields if field.kind is Kind.NUMBER]
    columns: dict[str, Any] = {
        field.name: column for field, column in zip(numeric, numbers(rows, numeric), strict=True)
    }
    for field in table.fields:
        if field.kind is Kind.INTEGER:
            columns[field.name] = integers(rows, field)
        elif field.kind is Kind.TEXT:
            columns[field.name] = [text(row, field) for row in rows]
        elif field.kind is Kind.ANY:
            columns[field.name] = [row.get(field.path) for row in rows]
    return columns


def _plain(value: object) -> float | None:
    if type(value) is not float and type(value) is not int:
        return None
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits
        return None


def _rejection(record: Mapping[str, Any], field: Field) -> RejectedAlert:
    value = record.get(field.path)
    empty = isinstance(value, str) and value.strip().lower() in MISSING_TEXTS
    nothing = isinstance(value, (int, float)) and (value != value or value in field.sentinels)
    if value is None or empty or nothing:
        return RejectedAlert(
            RejectReason.MISSING_FIELD, f"{field.path} is missing and cannot be done without"
        )
    return RejectedAlert(RejectReason.INVALID_VALUE, f"{field.path} is of the wrong type or out of its range")
