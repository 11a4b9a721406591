# SPDX-License-Identifier: BSD-3-Clause
"""What the demonstration plays: a simulated night with broken messages in it, or real packets from files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import fastavro

from broker_plugin.codec.packets import ContainerReader, is_container
from broker_plugin.demo.packets import broken_messages, night_messages
from broker_plugin.demo.simulator import Night
from broker_plugin.errors import ConfigurationError, RejectedAlert
from broker_plugin.streams.archive import find_archives
from broker_plugin.streams.tar import TAR_SUFFIXES, read_members

__all__ = ["Track", "archive_tracks", "night_tracks"]

MESSAGE_MAX_BYTES = 1_000_000
"""Longer files that are no container are cut here, to be played as the broken messages that they are."""

CUTOUT = "cutout"
"""What the names of image fields begin with: 99 % of a packet's bytes, and no encoder reads them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One message to be played; `note` says what is wrong with it, where that is known."""

    value: bytes
    note: str = ""


def night_tracks(night: Night) -> Iterator[Track]:
    """Yield the messages of a simulated night in order of time, the broken ones spread among them."""
    broken: list[tuple[str, bytes]] = []
    every = 1
    for row, (_, value) in enumerate(night_messages(night)):
        if row == 0:
            broken = broken_messages(night.seed, value)
            every = max(1, len(night.alerts) // len(broken))
        yield Track(value=value)
        if broken and row % every == every // 2:
            note, junk = broken.pop()
            yield Track(value=junk, note=note)


def archive_tracks(paths: Sequence[Path]) -> Iterator[Track]:
    """Yield the packets of files, directories and tar archives, each record as a message of its own.

    Raises
    ------
    ConfigurationError
        If nothing is there, or a file is neither Avro nor a tar archive.
    """
    files = find_archives(paths)
    for path in files:
        if path.name.endswith(".parquet"):
            raise ConfigurationError(
                f"{path} holds no messages; play Avro files, or use `replay` for Parquet"
            )
    return _tracks(files)


def _tracks(files: Sequence[Path]) -> Iterator[Track]:
    for path in files:
        with path.open("rb") as handle:
            if path.name.endswith(TAR_SUFFIXES):
                yield from _members(path, handle)
            else:
                yield from _packets(handle)


def _members(path: Path, handle: BinaryIO) -> Iterator[Track]:
    try:
        for _, content in read_members(handle):
            if content is None:
                yield Track(value=b"", note="a file larger than any message")
            else:
                yield from _packets(io.BytesIO(content))
    except RejectedAlert as defect:
        raise ConfigurationError(f"{path} is cut or corrupt: {defect.detail}; restore it") from defect


def _packets(handle: BinaryIO) -> Iterator[Track]:
    """Yield the records of a container file, or what is none as it is."""
    if not is_container(handle):
        yield Track(value=handle.read(MESSAGE_MAX_BYTES))
        return
    try:
        reader = ContainerReader(handle)
        dropped = _droppable(reader.writer_schema.parsed)
        for record in reader:
            yield Track(value=_wrap(record, reader.writer_schema.parsed, dropped))
    except RejectedAlert as defect:
        # What follows the defect is lost to any reader; the beginning of the file shows what it was.
        handle.seek(0)
        yield Track(value=handle.read(MESSAGE_MAX_BYTES), note=f"a file that ends badly ({defect.detail})")


def _wrap(record: Mapping[str, Any], schema: Any, dropped: Sequence[str]) -> bytes:
    buffer = io.BytesIO()
    fastavro.writer(buffer, schema, [{**record, **dict.fromkeys(dropped)}])
    return buffer.getvalue()


def _droppable(schema: Any) -> list[str]:
    return [
        field["name"]
        for field in schema["fields"]
        if field["name"].startswith(CUTOUT) and isinstance(field["type"], list) and "null" in field["type"]
    ]
