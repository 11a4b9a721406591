# SPDX-License-Identifier: BSD-3-Clause
"""Files as a source: packets, container files of many records, nightly tar archives and Parquet.

A backfill is a stream that ends. Files are read in the order they were given and, inside a directory, in the
order of their names, so that two runs give the same verdicts in the same order.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ArrowException

from broker_plugin.codec.packets import MESSAGE_MAX_BYTES, ContainerReader, is_container
from broker_plugin.codec.writer_schema import WriterSchema
from broker_plugin.errors import ConfigurationError, RejectedAlert, RejectReason
from broker_plugin.streams.base import Message
from broker_plugin.streams.tar import TAR_SUFFIXES, read_members
from broker_plugin.surveys.base import Packet

__all__ = ["ARCHIVE_SUFFIXES", "ArchiveSource", "find_archives"]

ARCHIVE_SUFFIXES = (".avro", *TAR_SUFFIXES, ".parquet")
"""What is read from a directory; a file named outright is read whatever its name."""

VERDICTS = "astrom3.verdict."
"""What the full name of the verdict schema begins with, in every major version."""

VERDICT_COLUMNS = frozenset({"verdict_id", "alert_key", "anomaly_p_value", "bundle_digest"})
"""Columns by which a Parquet file of verdicts is known, whatever its minor version."""

UNREADABLE = (ArrowException, OSError, OverflowError, ValueError)
"""What Arrow raises on damaged Parquet, and on values that Python has no type for."""

PARQUET_BATCH = 256
"""Rows of a Parquet file that are decoded at a time; nested histories make rows large."""


def find_archives(paths: Sequence[Path]) -> list[Path]:
    """Return the files to read, directories expanded recursively in order of name.

    Raises
    ------
    ConfigurationError
        If a path does not exist or nothing is found.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(f for f in path.rglob("*") if f.is_file() and f.name.endswith(ARCHIVE_SUFFIXES))
        elif path.is_file():
            found.append(path)
        else:
            raise ConfigurationError(f"{path} does not exist; give files or directories of alert packets")
    if not found:
        names = ", ".join(str(path) for path in paths)
        raise ConfigurationError(f"no {' '.join(ARCHIVE_SUFFIXES)} file under {names}; name it outright")
    return found


class ArchiveSource:
    """Reads alert packets from files; `commit` is a no-op, since a file can be read again.

    Files of verdicts are left out: they are what an earlier run made of a directory.

    Parameters
    ----------
    paths
        Files and directories.

    Attributes
    ----------
    paths
        The files to read.
    verdict_files
        Those that hold verdicts and are not read.
    ended_early
        What could not be read to its end so far, and why.

    Raises
    ------
    ConfigurationError
        If a path does not exist, a file may not be read or nothing is found.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths: list[Path] = []
        self.verdict_files: list[Path] = []
        for path in find_archives(paths):
            (self.verdict_files if _is_verdicts(path) else self.paths).append(path)
        if not self.paths:
            names = ", ".join(str(path) for path in self.verdict_files)
            raise ConfigurationError(f"{names}: verdicts, not alerts; give files of alert packets")
        self.ended_early: list[str] = []
        self.bytes_total = sum(path.stat().st_size for path in self.paths)
        self._bytes_before = 0
        self._handle: BinaryIO | None = None
        self._messages = self._read_all()
        self._exhausted = False

    @property
    def bytes_read(self) -> int:
        """How far reading has come, out of `bytes_total`."""
        handle = self._handle
        return self._bytes_before + (handle.tell() if handle is not None and not handle.closed else 0)

    @property
    def exhausted(self) -> bool:
        """Tell whether every file was read to its end."""
        return self._exhausted

    def poll(self, batch_max: int, timeout_s: float = 0.0) -> Sequence[Message]:
        """Return the next messages; fewer than `batch_max` only at the end."""
        messages = list(islice(self._messages, batch_max))
        self._exhausted = len(messages) < batch_max
        return messages

    def commit(self, messages: Sequence[Message]) -> None:
        """Do nothing: files stay where they are."""

    def close(self) -> None:
        """Stop reading."""
        self._messages = iter(())
        self._exhausted = True

    def _read_all(self) -> Iterator[Message]:
        for path in self.paths:
            with path.open("rb") as handle:
                self._handle = handle
                for message in _read_file(path, handle):
                    if isinstance(message.defect, _EndedEarly):
                        self.ended_early.append(f"{message.topic}: {message.defect.detail}")
                    yield message
            self._handle = None
            self._bytes_before += path.stat().st_size


class _EndedEarly(RejectedAlert):
    """What follows in the file cannot be read: this one rejection may stand for many alerts."""


def _is_verdicts(path: Path) -> bool:
    """Tell whether a file holds verdicts of ours, by its schema."""
    try:
        handle = path.open("rb")
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror or error}; permit it") from error
    with handle:
        try:
            if path.name.endswith(".parquet"):
                return VERDICT_COLUMNS.issubset(pq.read_schema(handle).names)
            return is_container(handle) and ContainerReader(handle).writer_schema.name.startswith(VERDICTS)
        except (RejectedAlert, *UNREADABLE):
            return False  # what is wrong with it is said when it is read


def _read_file(path: Path, handle: BinaryIO) -> Iterator[Message]:
    if path.name.endswith(".parquet"):
        yield from _read_parquet(path, handle)
    elif path.name.endswith(TAR_SUFFIXES):
        yield from _read_tar(path, handle)
    else:
        yield from _read_packets(str(path), handle)


def _read_packets(name: str, handle: BinaryIO) -> Iterator[Message]:
    """Yield one message a record of a container file, or what is no container as one message."""
    record, reader = 0, None
    try:
        if not is_container(handle):
            yield _whole(name, handle)
            return
        reader = ContainerReader(handle)
        for packet in reader:
            yield _record(name, record, packet, reader.schema, reader.writer_schema)
            record += 1
    except RejectedAlert as defect:
        if record:
            yield _defective(name, record, _EndedEarly(defect.reason, defect.detail))
        elif reader is not None and reader.announced == 1:
            yield _whole(name, handle)  # a packet of its own, as the surveys send them
        else:
            yield _whole(name, handle, _EndedEarly(defect.reason, defect.detail))
    except OSError as error:
        yield _unreadable(name, record, error)
    else:
        if record == 0:
            yield _defective(name, 0, RejectedAlert(RejectReason.EMPTY, "the container file holds no record"))


def _read_tar(path: Path, handle: BinaryIO) -> Iterator[Message]:
    try:
        for member, content in read_members(handle):
            name = f"{path}/{member}"
            if content is None:
                yield _too_large(name)
            else:
                yield from _read_packets(name, io.BytesIO(content))
    except RejectedAlert as defect:
        yield _defective(str(path), 0, _EndedEarly(defect.reason, defect.detail))


def _read_parquet(path: Path, handle: BinaryIO) -> Iterator[Message]:
    row = 0
    try:
        for batch in pq.ParquetFile(handle).iter_batches(batch_size=PARQUET_BATCH):
            for packet in _in_microseconds(batch).to_pylist():
                yield _record(str(path), row, packet, "parquet")
                row += 1
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno:  # Arrow's own of what is damaged has none
            yield _unreadable(str(path), row, error)
            return
        place = f"after row {row}" if row else "at its beginning"
        detail = f"the Parquet file cannot be read {place}: it is damaged, cut short or no Parquet"
        yield _defective(str(path), row, _EndedEarly(RejectReason.UNDECODABLE, detail))


def _in_microseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows with times as Python has them, which knows no nanoseconds."""
    schema = pa.schema([field.with_type(_known_to_python(field.type)) for field in batch.schema])
    return batch if schema.equals(batch.schema) else batch.cast(schema, safe=False)


def _known_to_python(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if pa.types.is_duration(kind):
        return pa.duration("us")
    if pa.types.is_time64(kind):
        return pa.time64("us")
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        make = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return make(kind.value_field.with_type(_known_to_python(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_known_to_python(field.type)) for field in kind])
    return kind


def _record(
    name: str, record: int, packet: Packet, schema: str, writer: WriterSchema | None = None
) -> Message:
    return Message(
        topic=name, partition=0, offset=record, value=b"", packet=packet, schema=schema, writer=writer
    )


def _whole(name: str, handle: BinaryIO, defect: RejectedAlert | None = None) -> Message:
    """Return a file as one message of its bytes, or without them where they are more than any message has."""
    try:
        handle.seek(0)
        content = handle.read(MESSAGE_MAX_BYTES + 1)
    except OSError as error:
        return _unreadable(name, 0, error)
    if len(content) > MESSAGE_MAX_BYTES:
        return _too_large(name) if defect is None else _defective(name, 0, defect)
    return Message(topic=name, partition=0, offset=0, value=content, defect=defect)


def _unreadable(name: str, record: int, error: OSError) -> Message:
    detail = f"record {record}: the file cannot be read on: {error.strerror or error}"
    return _defective(name, record, _EndedEarly(RejectReason.UNDECODABLE, detail))


def _too_large(name: str) -> Message:
    detail = f"larger than {MESSAGE_MAX_BYTES} bytes, and not looked into"
    return _defective(name, 0, _EndedEarly(RejectReason.TOO_LARGE, detail))


def _defective(name: str, record: int, defect: RejectedAlert) -> Message:
    return Message(topic=name, partition=0, offset=record, value=b"", defect=defect)
