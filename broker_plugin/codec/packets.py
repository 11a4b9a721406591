# SPDX-License-Identifier: BSD-3-Clause
"""Bytes to packets: Avro container files and Confluent-framed messages, from a network nobody vouches for.

Whatever the bytes are, decoding ends in packets or in a `RejectedAlert`, in time and memory proportional to
the limit on their size.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import IO, Any

import fastavro

from broker_plugin.codec.compression import BlockTooLargeError, decompress
from broker_plugin.codec.limits import (
    DEFAULT_LIMITS,
    TOO_MANY_ALERTS,
    Limits,
    MeteredBytes,
    TooManyValuesError,
)
from broker_plugin.codec.writer_schema import SchemaError, WriterSchema, parse_json, vet
from broker_plugin.errors import RejectedAlert, RejectReason

__all__ = [
    "CONTAINER_MAGIC",
    "FRAME",
    "FRAME_MAGIC",
    "MESSAGE_MAX_BYTES",
    "SYNC_BYTES",
    "ContainerReader",
    "Decoded",
    "decode_datum",
    "decode_message",
    "is_container",
    "read_container_file",
]

CONTAINER_MAGIC = b"Obj\x01"
"""First bytes of an Avro container file."""

FRAME_MAGIC = 0
"""First byte of a message framed with a schema id."""

FRAME = struct.Struct(">bI")
"""That byte and the schema id, big-endian."""

MESSAGE_MAX_BYTES = DEFAULT_LIMITS.message_bytes
"""Largest message that is decoded where nothing else is set, see `Limits`."""

BLOCK_MAX_BYTES = 256_000_000
"""Largest block of a container file on disk, before and after decompression; writers make blocks of 16 kB
to a few MB."""

HEADER_MAX_ENTRIES = 100
"""Most entries of a container's header; usual are two."""

VARINT_MAX_BYTES = 10
"""Longest encoding of a 64-bit integer."""

SCHEMAS_CACHED = 64
"""Container schemas kept parsed: a few versions of a few surveys. Parsing one takes longer than decoding."""

SYNC_BYTES = 16
"""Length of the marker that a container file has behind its header and behind each block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The packets of one message, and the schema they were written with.

    Parameters
    ----------
    registered
        Whether the message names its schema by an id, or brings it along.
    """

    packets: tuple[Mapping[str, Any], ...]
    writer: WriterSchema
    registered: bool

    @property
    def schema(self) -> str:
        """The survey's schema version, where the schema's name says it."""
        return self.writer.version


class _DefectError(Exception):
    """Something in the bytes is not as Avro has it; the text is for a person and quotes nothing."""

    def __init__(self, text: str, reason: RejectReason = RejectReason.UNDECODABLE) -> None:
        super().__init__(text)
        self.reason = reason


def decode_message(
    value: bytes,
    *,
    schema_of: Callable[[int], WriterSchema],
    limits: Limits = DEFAULT_LIMITS,
    vouch: Callable[[WriterSchema], None] = lambda _: None,
) -> Decoded:
    """Return the packets of one message.

    Parameters
    ----------
    value
        The message as it came in.
    schema_of
        Returns the writer schema of a framed message's schema id.
    limits
        What a message may be. What is more is not decoded, nor are containers that decompress to more.
    vouch
        Is asked about the schema before anything is decoded by it, and raises what it has against it.

    Raises
    ------
    RejectedAlert
        If the message is empty, too large, of an unknown schema or not decodable.
    TransientError
        If `schema_of` raises it.
    """
    if not value:
        raise RejectedAlert(RejectReason.EMPTY, "the message has no bytes")
    if len(value) > limits.message_bytes:
        raise RejectedAlert(
            RejectReason.TOO_LARGE,
            f"{len(value)} bytes are more than the limit; if that is no mistake, raise limits.message_bytes",
        )
    if value.startswith(CONTAINER_MAGIC):
        return _decode_container(value, limits, vouch)
    if value[0] == FRAME_MAGIC and len(value) > FRAME.size:
        _, schema_id = FRAME.unpack_from(value)
        schema = schema_of(schema_id)
        vouch(schema)
        packet = decode_datum(value[FRAME.size :], schema, max_values=limits.message_values)
        return Decoded(packets=(packet,), writer=schema, registered=True)
    raise RejectedAlert(
        RejectReason.UNDECODABLE, "the message is neither an Avro container file nor framed with a schema id"
    )


def decode_datum(
    datum: bytes, schema: WriterSchema, *, max_values: int = DEFAULT_LIMITS.message_values
) -> Mapping[str, Any]:
    """Return the record of bare Avro bytes, all of which it must take up.

    Raises
    ------
    RejectedAlert
        If the bytes are not such a record.
    """
    try:
        # As many values as bytes are the most there can be.
        is_metered = len(datum) > max_values
        source = MeteredBytes(datum, left=max_values) if is_metered else io.BytesIO(datum)
        (record,) = _records(source, 1, schema)
    except _DefectError as defect:
        raise RejectedAlert(defect.reason, str(defect)) from defect
    return record


def read_container_file(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the packets of a container file on disk, a block at a time.

    Raises
    ------
    RejectedAlert
        At the first defect, after the packets before it; the detail says how many those were.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as source:
        yield from ContainerReader(source)


def is_container(source: IO[bytes]) -> bool:
    """Tell whether an Avro container file begins here, be it cut, without moving on in the file."""
    start = source.tell()
    found = source.read(len(CONTAINER_MAGIC))
    source.seek(start)
    return found != b"" and CONTAINER_MAGIC.startswith(found)


class ContainerReader:
    """Yields the packets of a container file, a block at a time.

    Parameters
    ----------
    source
        The file, at its beginning.
    max_bytes
        Most bytes of a block, before and after decompression.
    total_bytes
        Most bytes of all blocks together; None for no limit.

    Attributes
    ----------
    announced
        How many records the blocks that were begun say they hold.

    Raises
    ------
    RejectedAlert
        At the first defect, after the packets before it; the detail says how many those were.
    """

    def __init__(
        self, source: IO[bytes], *, max_bytes: int = BLOCK_MAX_BYTES, total_bytes: int | None = None
    ) -> None:
        self._source = source
        self._max_bytes = max_bytes
        self._room = total_bytes
        self._values: int | None = None
        self.announced = 0
        try:
            header = self._header()
            self.codec = header.get(b"avro.codec", b"null")
            self._sync = self._exactly(SYNC_BYTES)
            self.writer_schema = _container_schema(header.get(b"avro.schema", b""))
        except _DefectError as defect:
            raise RejectedAlert(defect.reason, f"header: {defect}") from defect

    @property
    def schema(self) -> str:
        """The survey's schema version, where the schema's name says it."""
        return self.writer_schema.version

    def limit_values(self, total: int) -> None:
        """Let no more than so many values be read from all records together."""
        self._values = total

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        n_read = 0
        try:
            while (first := self._source.read(1)) != b"":
                for record in self._block(first):
                    yield record
                    n_read += 1
        except _DefectError as defect:
            raise RejectedAlert(defect.reason, f"record {n_read}: {defect}") from defect

    def _block(self, first: bytes) -> Iterator[Mapping[str, Any]]:
        count, size = self._varint(first), self._varint()
        if count < 0:
            raise _DefectError("a block has a negative number of records")
        self.announced += count
        room = self._max_bytes if self._room is None else min(self._room, self._max_bytes)
        try:
            content = decompress(self._exactly(size), self.codec, room)
        except BlockTooLargeError as error:
            raise _DefectError(str(error), RejectReason.TOO_LARGE) from error
        except ValueError as error:
            raise _DefectError(str(error)) from error
        if self._exactly(SYNC_BYTES) != self._sync:
            raise _DefectError("a block does not end with the file's marker")
        if self._room is not None:
            self._room -= len(content)
        if self._values is None:
            yield from _records(io.BytesIO(content), count, self.writer_schema)
        else:
            metered = MeteredBytes(content, left=self._values)
            yield from _records(metered, count, self.writer_schema)
            self._values = metered.left

    def _header(self) -> dict[bytes, bytes]:
        if self._exactly(len(CONTAINER_MAGIC)) != CONTAINER_MAGIC:
            raise _DefectError("the file is not an Avro container file")
        header: dict[bytes, bytes] = {}
        while (count := self._varint()) != 0:
            if count < 0:
                count, _ = -count, self._varint()
            if len(header) + count > HEADER_MAX_ENTRIES:
                raise _DefectError("the header has too many entries")
            for _ in range(count):
                key = self._exactly(self._varint())
                header[key] = self._exactly(self._varint())
        return header

    def _exactly(self, size: int) -> bytes:
        if not 0 <= size <= self._max_bytes:
            raise _DefectError("a length is negative or beyond the limit")
        content = self._source.read(size)
        if len(content) != size:
            raise _DefectError("the bytes end too early")
        return content

    def _varint(self, first: bytes = b"") -> int:
        value = 0
        for position in range(VARINT_MAX_BYTES):
            (byte,) = first or self._exactly(1)
            first = b""
            value |= (byte & 0x7F) << (7 * position)
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)
        raise _DefectError("an integer is too long")


@lru_cache(maxsize=SCHEMAS_CACHED)
def _container_schema(text: bytes) -> WriterSchema:
    try:
        return vet(parse_json(text))
    except SchemaError as error:
        raise _DefectError(str(error)) from error


def _decode_container(value: bytes, limits: Limits, vouch: Callable[[WriterSchema], None]) -> Decoded:
    most = limits.message_bytes
    source = io.BytesIO(value)
    reader = ContainerReader(source, max_bytes=most, total_bytes=most)
    if source.tell() < len(value):  # else it is empty, whatever it would be of
        vouch(reader.writer_schema)
    if len(value) > limits.message_values or reader.codec != b"null":
        reader.limit_values(limits.values_of(len(value)))
    packets = tuple(islice(reader, limits.message_alerts + 1))
    if not packets:
        raise RejectedAlert(RejectReason.EMPTY, "the container file holds no record")
    if len(packets) > limits.message_alerts:
        raise RejectedAlert(RejectReason.TOO_LARGE, TOO_MANY_ALERTS)
    return Decoded(packets=packets, writer=reader.writer_schema, registered=False)


def _records(source: io.BytesIO, count: int, schema: WriterSchema) -> Iterator[Mapping[str, Any]]:
    for _ in range(count):
        try:
            record = fastavro.schemaless_reader(source, schema.parsed, None)
        except TooManyValuesError as error:
            raise _DefectError(
                "there are more values than the limit, or than its bytes allow for",
                RejectReason.TOO_LARGE,
            ) from error
        except Exception as error:  # fastavro lets out whatever the bytes cause, be it a MemoryError
            raise _DefectError(f"the bytes do not follow their schema ({type(error).__name__})") from error
        if not isinstance(record, dict):
            raise _DefectError("the schema's top type is not a record")
        yield record
    if source.read(1):
        raise _DefectError("bytes are left over behind the last record")
