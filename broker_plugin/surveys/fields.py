# SPDX-License-Identifier: BSD-3-Clause
"""Survey fields as data: where a value lies in a packet, in which unit, and how "missing" is spelt there.

An adapter is a handful of tables of `Field`s. From the same tables `columns` reads decoded packets, and
`codec.program` compiles what reads a message's bytes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from broker_plugin.errors import RejectedAlert, RejectReason

__all__ = [
    "INT64_MAX",
    "MISSING_INTEGER",
    "Field",
    "Kind",
    "RecordTable",
    "integer",
    "number",
    "plain_number",
    "plain_text",
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
    """A text or an integer as it is, for the few fields that one survey spells in several types."""
    PRESENCE = "presence"
    """Whether an integer field of the same path is there at all, be it impossible."""


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
    value = plain_number(record.get(field.path))
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
    return plain_text(record.get(field.path))


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


def plain_number(value: object) -> float | None:
    """Return a value as a number, or None where it is of another type; NaN and infinity are kept."""
    if type(value) is not float and type(value) is not int:
        return None
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits
        return None


def plain_text(value: object) -> str | None:
    """Return a value if it is a text that stands for something.

    Examples
    --------
    >>> plain_text("r"), plain_text("null"), plain_text(5)
    ('r', None, None)
    """
    if not isinstance(value, str) or value.strip().lower() in MISSING_TEXTS:
        return None
    return value if len(value) <= TEXT_MAX and value.isprintable() else None


def _rejection(record: Mapping[str, Any], field: Field) -> RejectedAlert:
    value = record.get(field.path)
    empty = isinstance(value, str) and value.strip().lower() in MISSING_TEXTS
    nothing = isinstance(value, (int, float)) and (value != value or value in field.sentinels)
    if value is None or empty or nothing:
        return RejectedAlert(
            RejectReason.MISSING_FIELD, f"{field.path} is missing and cannot be done without"
        )
    return RejectedAlert(RejectReason.INVALID_VALUE, f"{field.path} is of the wrong type or out of its range")
