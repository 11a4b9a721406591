# SPDX-License-Identifier: BSD-3-Clause
"""Columns over many packets: what a survey's adapter works on, wherever they were read from.

A `Layout` says which tables of fields a survey needs: of single records, one row a packet, and of arrays of
records, one row an element. The columns are filled from decoded packets (`columns_of_packets`), or from the
matrices of raw values that a compiled program wrote (`columns_of_matrices`). Both give the same columns, in
our units, with NaN, `MISSING_INTEGER` and the code -1 for what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from broker_plugin.surveys.fields import (
    INT64_MAX,
    MISSING_INTEGER,
    Field,
    Kind,
    RecordTable,
    integer,
    plain_number,
    plain_text,
    rows_of,
)

__all__ = [
    "ABSENT",
    "OTHER",
    "Coded",
    "Columns",
    "Layout",
    "PacketColumns",
    "columns_of_matrices",
    "columns_of_packets",
]

ABSENT = -(2**63)
"""Raw integer of a field that is null or that the schema does not have."""

OTHER = ABSENT + 1
"""Raw integer of a field that is there, but of another type."""

Columns = Mapping[str, Any]
"""Columns by our name: float64, int64 and bool arrays, and `Coded` for texts and fields of several types."""


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of a few values that repeat: row i has `values[codes[i]]`, or nothing where its code is -1."""

    codes: NDArray[np.int64]
    values: tuple[Any, ...]

    @classmethod
    def of(cls, values: Iterable[Hashable | None]) -> Coded:
        """Return the column of some values, None for nothing.

        Examples
        --------
        >>> Coded.of(["r", None, "g", "r"])
        Coded(codes=array([ 0, -1,  1,  0]), values=('r', 'g'))
        """
        code_of: dict[tuple[type, Hashable], int] = {}
        codes = [
            -1 if value is None else code_of.setdefault((type(value), value), len(code_of))
            for value in values
        ]
        return cls(np.array(codes, np.int64), tuple(value for _, value in code_of))

    def map(self, function: Callable[[Any], Any], dtype: DTypeLike) -> NDArray[Any]:
        """Return a function of every row's value; it is called once for each value, and with None.

        Examples
        --------
        >>> Coded.of(["r", None, "g"]).map(lambda band: 0 if band is None else ord(band), int)
        array([114,   0, 103])
        """
        table = np.array([function(value) for value in (*self.values, None)], dtype)
        return np.asarray(table[self.codes])

    def __getitem__(self, rows: NDArray[Any]) -> Coded:
        return Coded(self.codes[rows], self.values)

    @property
    def known(self) -> NDArray[np.bool_]:
        """True where a row has a value."""
        return self.codes >= 0

    def tolist(self) -> list[Any]:
        """Return the values row by row."""
        values = (*self.values, None)
        return [values[code] for code in self.codes.tolist()]


@dataclass(frozen=True, slots=True)
class Layout:
    """The tables of a survey.

    Parameters
    ----------
    heads
        Tables of single records, the packet itself having the path "".
    rows
        Tables of arrays of records.
    """

    heads: tuple[RecordTable, ...]
    rows: tuple[RecordTable, ...]

    def head_start(self, table: RecordTable) -> tuple[int, int]:
        """Return the first column of a head table among all numbers, and among all else."""
        before = self.heads[: self.heads.index(table)]
        return sum(width(each)[0] for each in before), sum(width(each)[1] for each in before)


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketColumns:
    """The columns of `n` packets.

    Parameters
    ----------
    heads
        By the path of their table, one row a packet.
    rows
        By the path of their table, one row an element of an array, in the order of the packets.
    packet_of
        The packet of each of those rows.
    """

    n: int
    heads: Mapping[str, Columns]
    rows: Mapping[str, Columns]
    packet_of: Mapping[str, NDArray[np.int64]]


def width(table: RecordTable) -> tuple[int, int]:
    """Return how many columns of numbers a table has, and how many of all else."""
    kinds = [entry.kind for entry in table.fields if entry.kind is not Kind.PRESENCE]
    return kinds.count(Kind.NUMBER), len(kinds) - kinds.count(Kind.NUMBER)


def columns_of_packets(packets: Sequence[Mapping[str, Any]], layout: Layout) -> PacketColumns:
    """Return the columns of decoded packets."""
    heads = {}
    for table in layout.heads:
        records = [packet.get(table.path) if table.path else packet for packet in packets]
        heads[table.path] = _of_records([rec if isinstance(rec, Mapping) else {} for rec in records], table)
    rows, packet_of = {}, {}
    for table in layout.rows:
        found = [rows_of(packet, table.path) for packet in packets]
        rows[table.path] = _of_records([row for part in found for row in part], table)
        packet_of[table.path] = np.repeat(np.arange(len(packets)), [len(part) for part in found])
    return PacketColumns(n=len(packets), heads=heads, rows=rows, packet_of=packet_of)


def columns_of_matrices(
    numbers: NDArray[np.float64],
    others: NDArray[np.int64],
    table: RecordTable,
    texts: Sequence[str | None],
) -> Columns:
    """Return the columns of the raw values that a program wrote.

    Parameters
    ----------
    numbers
        A column for each field of numbers, in the order of the table, NaN where missing; shape (T, F).
    others
        A column for each other field. Integers as they are, with `ABSENT` and `OTHER`. Texts by their
        position in `texts`; -1 for nothing; where a field may be an integer too, that is -2 minus it.
    texts
        All texts, None in the place of those that stand for nothing.
    """
    fields = tuple(entry for entry in table.fields if entry.kind is Kind.NUMBER)
    cleaned = _clean_numbers(np.ascontiguousarray(numbers.T), fields)
    columns: dict[str, Any] = {entry.name: column for entry, column in zip(fields, cleaned, strict=True)}
    position = 0
    raw: dict[str, NDArray[np.int64]] = {}
    for entry in table.fields:
        if entry.kind is Kind.NUMBER or entry.kind is Kind.PRESENCE:
            continue
        column = others[:, position]
        position += 1
        if entry.kind is Kind.INTEGER:
            raw[entry.path] = column
            columns[entry.name] = _clean_integers(column, entry)
        else:
            columns[entry.name] = _coded(column, texts)
    for entry in table.fields:
        if entry.kind is Kind.PRESENCE:
            columns[entry.name] = raw[entry.path] != ABSENT
    return columns


def _of_records(records: Sequence[Mapping[str, Any]], table: RecordTable) -> Columns:
    fields = tuple(entry for entry in table.fields if entry.kind is Kind.NUMBER)
    raw = [[plain_number(record.get(entry.path)) for record in records] for entry in fields]
    values = np.array(raw, np.float64).reshape(len(fields), len(records))
    columns: dict[str, Any] = dict(
        zip([entry.name for entry in fields], _clean_numbers(values, fields), strict=True)
    )
    for entry in table.fields:
        if entry.kind is Kind.INTEGER:
            known = [integer(record, entry) for record in records]
            columns[entry.name] = np.array([MISSING_INTEGER if v is None else v for v in known], np.int64)
        elif entry.kind is Kind.TEXT:
            columns[entry.name] = Coded.of(plain_text(record.get(entry.path)) for record in records)
        elif entry.kind is Kind.ANY:
            columns[entry.name] = Coded.of(_simple(record.get(entry.path)) for record in records)
        elif entry.kind is Kind.PRESENCE:
            columns[entry.name] = np.array(
                [record.get(entry.path) is not None for record in records], np.bool_
            )
    return columns


def _simple(value: object) -> str | int | None:
    return value if isinstance(value, int) else plain_text(value)


def _clean_numbers(columns: NDArray[np.float64], fields: tuple[Field, ...]) -> NDArray[np.float64]:
    """Return numbers in our units, NaN where missing or impossible; shape (F, T), changed in place."""
    limits = _limits(fields)
    known = np.ones(columns.shape, np.bool_)
    for sentinel in limits.sentinels:
        known &= columns != sentinel
    if limits.is_scaled:
        with np.errstate(over="ignore"):
            columns *= limits.scale
    known &= columns >= limits.low
    known &= columns <= limits.high
    columns[~known] = np.nan
    return columns


@dataclass(frozen=True, slots=True)
class _Limits:
    """What is to be known of some fields, shape (F, 1) each; infinity is beyond every limit."""

    sentinels: tuple[NDArray[np.float64], ...]
    scale: NDArray[np.float64]
    is_scaled: bool
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@lru_cache(maxsize=32)
def _limits(fields: tuple[Field, ...]) -> _Limits:
    def column(values: Iterable[float]) -> NDArray[np.float64]:
        return np.array([*values], np.float64)[:, None]

    most = max((len(entry.sentinels) for entry in fields), default=0)
    largest = np.finfo(np.float64).max
    return _Limits(
        # Nothing equals NaN, which fills up the fields with fewer sentinels.
        sentinels=tuple(
            column(entry.sentinels[place] if place < len(entry.sentinels) else np.nan for entry in fields)
            for place in range(most)
        ),
        scale=column(entry.scale for entry in fields),
        is_scaled=any(entry.scale != 1.0 for entry in fields),
        low=column(max(entry.low, -largest) for entry in fields),
        high=column(min(entry.high, largest) for entry in fields),
    )


def _clean_integers(raw: NDArray[np.int64], entry: Field) -> NDArray[np.int64]:
    known = raw >= max(0, math.ceil(max(entry.low, 0.0)))
    if entry.high < INT64_MAX:
        known &= raw <= math.floor(entry.high)
    for sentinel in entry.sentinels:
        known &= raw != sentinel
    return np.where(known, raw, MISSING_INTEGER)


def _coded(raw: NDArray[np.int64], texts: Sequence[str | None]) -> Coded:
    is_text = raw >= 0
    used = np.zeros(len(texts), np.bool_)
    used[raw[is_text]] = True
    numbers = np.unique(raw[(raw < -1) & (raw > OTHER)])
    known = [place for place in np.flatnonzero(used).tolist() if texts[place] is not None]
    code_of = np.full(len(texts) + 1, -1, np.int64)
    code_of[known] = np.arange(len(known))
    codes = code_of[np.where(is_text, raw, len(texts))]
    for code, number in enumerate(numbers.tolist(), len(known)):
        codes[raw == number] = code
    return Coded(codes, (*(texts[place] for place in known), *(-2 - number for number in numbers.tolist())))
