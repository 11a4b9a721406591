# SPDX-License-Identifier: BSD-3-Clause
"""Objects to bare Avro by a writer that is put together once from the schema.

fastavro looks at the schema and at every value's type for each record, which takes longer than to judge an
alert. Here each field has its own function from the start. Only what the schemas of our topics are made of
is known; fastavro reads what is written, and writes the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any

__all__ = ["compile_writer", "long_bytes"]

Put = Callable[[bytes], None]
Write = Callable[[Any, Put], None]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

KEPT = 8192
"""Strings and times that are kept as bytes: names of classes, strata and reference stars recur in every
record. Fewer, and the stars would push one another out; a bundle names some thousands."""

END = b"\x00"
"""Ends an array or a map; also the branch `null` of our unions, and False."""

_double = struct.Struct("<d").pack


def compile_writer(schema: Any, *, unique: Collection[str] = ()) -> Callable[[Any], bytes]:
    r"""Return a function from an object with a record's fields as attributes to the record's bytes.

    Parameters
    ----------
    schema
        A record's schema, whole, as `fastavro.parse_schema` returns it.
    unique
        Its fields of text that is another in every record, so that to keep its bytes would help nobody.

    Raises
    ------
    NotImplementedError
        If the schema has a type that no schema of ours had so far.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> fields = [{"name": "n", "type": "int"}, {"name": "band", "type": ["null", "string"]}]
    >>> write = compile_writer({"type": "record", "name": "R", "fields": fields})
    >>> write(SimpleNamespace(n=-2, band="g"))
    b'\x03\x02\x02g'
    """
    write = _record(schema, unique)

    def to_bytes(value: Any) -> bytes:
        parts: list[bytes] = []
        write(value, parts.append)
        return b"".join(parts)

    return to_bytes


def long_bytes(value: int) -> bytes:
    r"""Return an integer as Avro writes `int` and `long`: zigzag, seven bits a byte.

    Examples
    --------
    >>> long_bytes(-1), long_bytes(64)
    (b'\x01', b'\x80\x01')
    """
    left = (value << 1) ^ (value >> 63)
    encoded = bytearray()
    while left > 0x7F:
        encoded.append(left & 0x7F | 0x80)
        left >>= 7
    encoded.append(left)
    return bytes(encoded)


_SMALL = tuple(long_bytes(value) for value in range(2048))
"""Lengths and counts, most of which are small."""


def _writer_of(schema: Any) -> Write:
    if isinstance(schema, str):
        return _primitive(schema)
    if isinstance(schema, list):
        return _optional(schema)
    if schema.get("logicalType") == "timestamp-millis":
        return _timestamp
    match schema["type"]:
        case "record":
            return _record(schema)
        case "enum":
            return _enum(schema)
        case "map":
            return _map(schema)
        case "array":
            return _array(schema)
        case kind:
            return _writer_of(kind)


def _primitive(name: str) -> Write:
    writers: dict[str, Write] = {
        "string": _string,
        "double": _put_double,
        "boolean": _boolean,
        "int": _long,
        "long": _long,
    }
    if name not in writers:
        raise NotImplementedError(f"no writer of Avro's {name!r}; add it beside the others")
    return writers[name]


def _record(schema: Any, unique: Collection[str] = ()) -> Write:
    names = [field["name"] for field in schema["fields"]]
    writers = [
        _unique_string if field["name"] in unique else _writer_of(field["type"]) for field in schema["fields"]
    ]
    values_of = attrgetter(*names)

    def write(record: Any, put: Put) -> None:
        for write_value, value in zip(writers, values_of(record), strict=True):
            write_value(value, put)

    return write


def _optional(branches: Sequence[Any]) -> Write:
    if len(branches) != 2 or branches[0] != "null":
        raise NotImplementedError(f"no writer of the union {branches!r}; ours are of null and one type")
    write_value = _writer_of(branches[1])

    def write(value: Any, put: Put) -> None:
        if value is None:
            put(END)
        else:
            put(b"\x02")
            write_value(value, put)

    return write


def _enum(schema: Any) -> Write:
    symbols = {symbol: long_bytes(position) for position, symbol in enumerate(schema["symbols"])}

    def write(value: str, put: Put) -> None:
        put(symbols[value])

    return write


def _map(schema: Any) -> Write:
    if schema["values"] == "double":
        return _doubles_by_name
    write_value = _writer_of(schema["values"])

    def write(values: Mapping[str, Any], put: Put) -> None:
        if values:
            _long(len(values), put)
            for name, value in values.items():
                put(_text(name))
                write_value(value, put)
        put(END)

    return write


def _array(schema: Any) -> Write:
    if schema["items"] == "float":
        return _floats
    write_item = _writer_of(schema["items"])

    def write(values: Sequence[Any], put: Put) -> None:
        if values:
            _long(len(values), put)
            for value in values:
                write_item(value, put)
        put(END)

    return write


def _doubles_by_name(values: Mapping[str, float], put: Put) -> None:
    if values:
        _long(len(values), put)
        for name, value in values.items():
            put(_text(name))
            put(_double(value))
    put(END)


def _floats(values: Sequence[float], put: Put) -> None:
    if values:
        _long(len(values), put)
        put(struct.pack(f"<{len(values)}f", *values))
    put(END)


def _string(value: str, put: Put) -> None:
    put(_text(value))


def _unique_string(value: str, put: Put) -> None:
    text = value.encode()
    _long(len(text), put)
    put(text)


def _put_double(value: float, put: Put) -> None:
    put(_double(value))


def _boolean(value: bool, put: Put) -> None:
    put(b"\x01" if value else END)


def _long(value: int, put: Put) -> None:
    put(_SMALL[value] if 0 <= value < len(_SMALL) else long_bytes(value))


def _timestamp(value: datetime, put: Put) -> None:
    put(_milliseconds(value))


@lru_cache(KEPT)
def _milliseconds(value: datetime) -> bytes:
    return long_bytes((value - EPOCH) // MILLISECOND)


@lru_cache(KEPT)
def _text(value: str) -> bytes:
    encoded = value.encode()
    return long_bytes(len(encoded)) + encoded
