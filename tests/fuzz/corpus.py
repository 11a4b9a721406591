# SPDX-License-Identifier: BSD-3-Clause
"""What mutants are made of: real packets, in every framing, small enough to be mutated by the thousand.

Containers of many alerts are taken apart: each alert becomes a container of its own and, for Rubin, a framed
message too. The schemas of those frames have ids of their own, beside the survey's, and lie in a folder.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import fastavro

__all__ = ["Corpus", "Seed", "read_corpus"]

FIRST_ID = 90_000
"""Ids of our frames begin here; Rubin's are below 10,000."""

EVERY_NATIVE, EVERY_STRIPPED, EVERY_RUBIN = 4, 40, 8
"""Of the packets as broadcast, of ZTF's without cutouts and of Rubin's, one in so many is a seed: neighbours
differ in numbers only, and a worker holds all seeds."""

FRAME = struct.Struct(">bI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A real packet.

    Parameters
    ----------
    name
        Where it is from.
    value
        The message.
    schema
        Its writer's schema as JSON text.
    datum_at
        Where the bare Avro record begins; None in a compressed container.
    """

    name: str
    value: bytes
    schema: str
    datum_at: int | None

    @property
    def parsed(self) -> Any:
        """The schema, parsed."""
        return _parsed(self.schema)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """The seeds, and the schema texts of framed messages by their id."""

    seeds: tuple[Seed, ...]
    schemas: Mapping[int, str]

    def write_schemas(self, folder: Path) -> Path:
        """Write the schemas as a directory that `--schemas` takes."""
        folder.mkdir(parents=True, exist_ok=True)
        for schema_id, text in self.schemas.items():
            (folder / f"{schema_id}.avsc").write_text(text, "utf-8")
        return folder


def read_corpus(alerts: Path) -> Corpus:
    """Return the seeds of a folder of alerts, `alerts/` of the real data, always in the same order."""
    seeds: list[Seed] = []
    schemas: dict[int, str] = {}
    native = sorted((alerts / "ztf/native").glob("*.avro"))[::EVERY_NATIVE]
    raw = sorted(path for path in (alerts / "lsst/raw").rglob("*.avro") if path.stat().st_size < 500_000)
    seeds += [_as_it_is(path.name, path.read_bytes()) for path in (*native, *raw)]
    for container in ((alerts / "ztf/nocutouts.avro"), *sorted((alerts / "lsst").glob("*.avro"))):
        is_rubin = container.name.startswith("lsst")
        schema, records = _records(container, EVERY_RUBIN if is_rubin else EVERY_STRIPPED)
        schema_id = FIRST_ID + len(schemas)
        if is_rubin:
            schemas[schema_id] = schema
        parsed = _parsed(schema)
        for number, record in enumerate(records):
            name = f"{container.name}[{number}]"
            datum = _datum(parsed, record)
            seeds.append(_in_container(name, schema, datum))
            if is_rubin:
                framed = FRAME.pack(0, schema_id) + datum
                seeds.append(Seed(name=f"{name} framed", value=framed, schema=schema, datum_at=FRAME.size))
    return Corpus(seeds=tuple(seeds), schemas=schemas)


def container_of(schema: str, block: bytes, *, count: int = 1, codec: str = "null") -> bytes:
    """Return a container file of one block, of whatever is wanted."""
    header = zigzag(2)
    for key, value in (("avro.schema", schema), ("avro.codec", codec)):
        header += zigzag(len(key)) + key.encode() + zigzag(len(value.encode())) + value.encode()
    sync = bytes(range(16))
    return b"Obj\x01" + header + b"\0" + sync + zigzag(count) + zigzag(len(block)) + block + sync


def zigzag(value: int) -> bytes:
    """Return a 64-bit integer as Avro has it.

    Examples
    --------
    >>> zigzag(1), zigzag(-1)
    (b'\\x02', b'\\x01')
    """
    left = ((value << 1) ^ (value >> 63)) & (2**64 - 1)
    encoded = bytearray()
    while left & ~0x7F:
        encoded.append(left & 0x7F | 0x80)
        left >>= 7
    encoded.append(left)
    return bytes(encoded)


def _as_it_is(name: str, value: bytes) -> Seed:
    if not value.startswith(b"Obj\x01"):
        return Seed(name=name, value=value, schema="", datum_at=FRAME.size)
    reader = fastavro.reader(io.BytesIO(value))
    schema = json.dumps(_plain(reader.writer_schema))
    if reader.codec != "null":
        return Seed(name=name, value=value, schema=schema, datum_at=None)
    # The block begins behind the first occurrence of the marker that also ends the file, with two integers.
    at = value.index(value[-16:]) + 16
    for _ in range(2):
        while value[at] & 0x80:
            at += 1
        at += 1
    return Seed(name=name, value=value, schema=schema, datum_at=at)


def _in_container(name: str, schema: str, datum: bytes) -> Seed:
    value = container_of(schema, datum)
    return Seed(name=name, value=value, schema=schema, datum_at=len(value) - 16 - len(datum))


def _records(path: Path, every: int) -> tuple[str, list[Any]]:
    with path.open("rb") as source:
        reader = fastavro.reader(source)
        schema = json.dumps(_plain(reader.writer_schema))
        return schema, list(_each(reader, every))


def _each(records: Iterator[Any], every: int) -> Iterator[Any]:
    for number, record in enumerate(records):
        if number % every == 0:
            yield record


@cache
def _parsed(schema: str) -> Any:
    return fastavro.parse_schema(json.loads(schema))


def _datum(parsed: Any, record: Any) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, parsed, record)
    return buffer.getvalue()


def _plain(schema: Any) -> Any:
    """Return a schema without fastavro's own marks."""
    if isinstance(schema, dict):
        return {key: _plain(value) for key, value in schema.items() if not key.startswith("__")}
    return [_plain(value) for value in schema] if isinstance(schema, list) else schema
