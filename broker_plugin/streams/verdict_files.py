# SPDX-License-Identifier: BSD-3-Clause
"""Verdicts into a file: Avro, Parquet or JSON lines, by the file's suffix; and which files hold verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from fastavro.write import Writer as AvroWriter

from broker_plugin.codec.verdict import Verdict, schema_text, to_json, to_record, verdict_schema
from broker_plugin.errors import ConfigurationError

__all__ = ["VerdictWriter", "check_format"]


class VerdictWriter(Protocol):
    """Writes verdicts in one format."""

    def write(self, verdicts: Sequence[Verdict]) -> None:
        """Append verdicts."""
        ...

    def finish(self) -> None:
        """Write what the format needs at its end."""
        ...


def check_format(path: Path) -> Callable[[BinaryIO], VerdictWriter]:
    """Return what writes the format of a file name.

    Raises
    ------
    ConfigurationError
        If the suffix names no format that verdicts are written in.
    """
    try:
        return _FORMATS[path.suffix]
    except KeyError as error:
        raise ConfigurationError(f"{path} must end in {', '.join(_FORMATS)}; rename the output") from error


class _JsonLines:
    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle

    def write(self, verdicts: Sequence[Verdict]) -> None:
        self._handle.write("".join(f"{to_json(verdict)}\n" for verdict in verdicts).encode())

    def finish(self) -> None:
        pass


class _Avro:
    def __init__(self, handle: BinaryIO) -> None:
        self._writer = AvroWriter(handle, verdict_schema(), codec="deflate")

    def write(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            self._writer.write(to_record(verdict))

    def finish(self) -> None:
        self._writer.flush()


class _Parquet:
    def __init__(self, handle: BinaryIO) -> None:
        self._schema = arrow_schema()
        self._writer = pq.ParquetWriter(handle, self._schema, compression="zstd")

    def write(self, verdicts: Sequence[Verdict]) -> None:
        records = [to_record(verdict) for verdict in verdicts]
        self._writer.write_table(pa.Table.from_pylist(records, schema=self._schema))

    def finish(self) -> None:
        self._writer.close()


_FORMATS: dict[str, Callable[[BinaryIO], VerdictWriter]] = {
    ".jsonl": _JsonLines,
    ".avro": _Avro,
    ".parquet": _Parquet,
}

_PRIMITIVES = {
    "string": pa.string(),
    "long": pa.int64(),
    "int": pa.int32(),
    "double": pa.float64(),
    "float": pa.float32(),
    "boolean": pa.bool_(),
    "enum": pa.string(),
}


def arrow_schema() -> pa.Schema:
    """Return the Arrow form of the verdict schema, with each field's doc, unit and UCD as its metadata."""
    fields = []
    for column in json.loads(schema_text())["fields"]:
        notes = {key: column[key] for key in ("doc", "unit", "ucd") if key in column}
        fields.append(pa.field(column["name"], _arrow_type(column["type"]), metadata=notes))
    return pa.schema(fields)


def _arrow_type(avro: object) -> pa.DataType:
    if isinstance(avro, list):
        return _arrow_type(next(branch for branch in avro if branch != "null"))
    if isinstance(avro, str):
        return _PRIMITIVES[avro]
    if not isinstance(avro, dict):
        raise TypeError(f"{avro!r} is not an Avro type")
    match avro["type"]:
        case "long" if avro.get("logicalType") == "timestamp-millis":
            return pa.timestamp("ms", tz="UTC")
        case "map":
            return pa.map_(pa.string(), _arrow_type(avro["values"]))
        case "array":
            return pa.list_(_arrow_type(avro["items"]))
        case "record":
            return pa.struct([pa.field(f["name"], _arrow_type(f["type"])) for f in avro["fields"]])
        case primitive:
            return _PRIMITIVES[primitive]
