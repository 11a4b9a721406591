# SPDX-License-Identifier: BSD-3-Clause
"""Tuples to bare Avro by a writer that is put together once from the schema.

fastavro looks at the schema and at every value's type for each record, which takes longer than to judge an
alert. Here each field has its own function from the start. Only what the schemas of our topics are made of
is known; fastavro reads what is written, and writes the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import Any

__all__ = ["compile_writer", "long_bytes"]

Encode = Callable[[Any], bytes]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

KEPT = 8192
"""Strings, numbers and times that are kept as bytes: names of classes, strata and reference stars recur in
every record. Fewer, and the stars would push one another out; a bundle names some thousands."""

END = b"\x00"
"""Ends an array or a map; also the branch `null` of our unions."""

GIVEN = b"\x02"
"""The other branch of our unions."""

_double = struct.Struct("<d").pack
_boolean = {False: b"\x00", True: b"\x01"}.__getitem__


def compile_writer(schema: Any, *, unique: Collection[str] = ()) -> Encode:
    r"""Return a function from the values of a record's fields, in the schema's order, to the record's bytes.

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
    >>> fields = [{"name": "n", "type": "int"}, {"name": "band", "type": ["null", "string"]}]
    >>> write = compile_writer({"type": "record", "name": "R", "fields": fields})
    >>> write((-2, "g"))
    b'\x03\x02\x02g'
    """
    return _record(schema, unique)


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


_long = lru_cache(KEPT)(long_bytes)


def _encoder_of(schema: Any) -> Encode:
    if isinstance(schema, str):
        return _primitive(schema)
    if isinstance(schema, list):
        return _optional(schema)
    if schema.get("logicalType") == "timestamp-millis":
        return _milliseconds
    match schema["type"]:
        case "record":
            return _record(schema)
        case "enum":
            return {symbol: long_bytes(at) for at, symbol in enumerate(schema["symbols"])}.__getitem__
        case "map":
            return _map(schema)
        case "array":
            return _array(schema)
        case kind:
            return _encoder_of(kind)


def _primitive(name: str) -> Encode:
    encoders: dict[str, Encode] = {
        "string": _text,
        "double": _double,
        "boolean": _boolean,
        "int": _long,
        "long": _long,
    }
    if name not in encoders:
        raise NotImplementedError(f"no writer of Avro's {name!r}; add it beside the others")
    return encoders[name]


def _record(schema: Any, unique: Collection[str] = ()) -> Encode:
    encoders = [
        _unique_text if field["name"] in unique else _encoder_of(field["type"]) for field in schema["fields"]
    ]
    return lambda values: b"".join([encode(value) for encode, value in zip(encoders, values, strict=True)])


def _optional(branches: Sequence[Any]) -> Encode:
    if len(branches) != 2 or branches[0] != "null":
        raise NotImplementedError(f"no writer of the union {branches!r}; ours are of null and one type")
    encode = _encoder_of(branches[1])
    return lambda value: END if value is None else GIVEN + encode(value)


def _map(schema: Any) -> Encode:
    if schema["values"] == "double":
        return _doubles_by_name
    encode = _encoder_of(schema["values"])

    def encode_map(values: Mapping[str, Any]) -> bytes:
        if not values:
            return END
        entries = (part for name, value in values.items() for part in (_text(name), encode(value)))
        return b"".join((_long(len(values)), *entries, END))

    return encode_map


def _array(schema: Any) -> Encode:
    if schema["items"] == "float":
        return _floats
    if isinstance(schema["items"], dict) and schema["items"]["type"] == "record":
        return _records(schema["items"])
    encode = _encoder_of(schema["items"])

    def encode_array(values: Sequence[Any]) -> bytes:
        return b"".join((_long(len(values)), *map(encode, values), END)) if values else END

    return encode_array


def _records(schema: Any) -> Encode:
    """Return what encodes an array of records, field by field: half the cost of one after the other."""
    encoders = [_encoder_of(field["type"]) for field in schema["fields"]]

    def encode_records(values: Sequence[Any]) -> bytes:
        if not values:
            return END
        columns = [
            map(encode, column) for encode, column in zip(encoders, zip(*values, strict=True), strict=True)
        ]
        return b"".join((_long(len(values)), *chain.from_iterable(zip(*columns, strict=True)), END))

    return encode_records


def _doubles_by_name(values: Mapping[str, float]) -> bytes:
    if not values:
        return END
    pack, names = _layout(tuple(values))
    return pack(*chain.from_iterable(zip(names, values.values(), strict=True)))


@lru_cache(KEPT)
def _layout(names: tuple[str, ...]) -> tuple[Callable[..., bytes], list[bytes]]:
    """Return what packs names and doubles in turn to a map, and the names. Few maps differ in those."""
    parts = [_text(name) for name in names]
    parts[0] = _long(len(names)) + parts[0]
    # The last `x` is a zero byte, which ends the map.
    return struct.Struct("<" + "".join(f"{len(part)}sd" for part in parts) + "x").pack, parts


def _floats(values: Sequence[float]) -> bytes:
    return _long(len(values)) + struct.pack(f"<{len(values)}fx", *values) if values else END


def _unique_text(value: str) -> bytes:
    encoded = value.encode()
    return _long(len(encoded)) + encoded


_text = lru_cache(KEPT)(_unique_text)


@lru_cache(KEPT)
def _milliseconds(value: datetime) -> bytes:
    return long_bytes((value - EPOCH) // MILLISECOND)
