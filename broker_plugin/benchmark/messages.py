# SPDX-License-Identifier: BSD-3-Clause
"""Packets of an archive to single messages, each as its survey sends it."""

from __future__ import annotations

import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fastavro
import numpy as np

from broker_plugin.codec.packets import FRAME, FRAME_MAGIC, SYNC_BYTES
from broker_plugin.codec.writer_schema import vet
from broker_plugin.errors import ConfigurationError

__all__ = ["ContainerForm", "Form", "FramedForm", "history_rows", "read_data", "thinned"]

TIME = "midpointMjdTai"
"""Time of a row in Rubin's histories."""


class Form(ABC):
    """Makes messages of packets of one schema.

    Parameters
    ----------
    schema
        The packets' own schema, as it stands in their file.
    """

    def __init__(self, schema: Any) -> None:
        self._parsed = vet(schema).parsed  # without logical types, whose values may not be written again

    @abstractmethod
    def message(self, datum: bytes) -> bytes:
        """Return the message of a record that is encoded already."""

    def encoded(self, packet: Mapping[str, Any]) -> bytes:
        """Return a packet as a record."""
        datum = io.BytesIO()
        fastavro.schemaless_writer(datum, self._parsed, packet)
        return datum.getvalue()

    def read(self, datum: bytes) -> dict[str, Any]:
        """Return the packet of a record."""
        packet: Any = fastavro.schemaless_reader(io.BytesIO(datum), self._parsed, None)
        return packet  # type: ignore[no-any-return]

    def written(self, packet: Mapping[str, Any]) -> bytes:
        """Return the message of a packet."""
        return self.message(self.encoded(packet))


class ContainerForm(Form):
    """Makes container files of one record, as ZTF sends them: each brings its schema along."""

    def __init__(self, schema: Any) -> None:
        super().__init__(schema)
        head = io.BytesIO()
        fastavro.writer(head, fastavro.parse_schema(schema), [])
        self._head = head.getvalue()[:-SYNC_BYTES]

    def message(self, datum: bytes) -> bytes:
        """Return the message of a record that is encoded already."""
        block = io.BytesIO()
        for number in (1, len(datum)):
            fastavro.schemaless_writer(block, "long", number)
        marker = hashlib.blake2b(datum, digest_size=SYNC_BYTES).digest()
        return b"".join((self._head, marker, block.getvalue(), datum, marker))


class FramedForm(Form):
    """Makes messages framed with a schema id, as Rubin sends them: the schema is elsewhere.

    Parameters
    ----------
    schema_id
        The number that the schema has in the registry.
    """

    def __init__(self, schema: Any, schema_id: int) -> None:
        super().__init__(schema)
        self._frame = FRAME.pack(FRAME_MAGIC, schema_id)

    def message(self, datum: bytes) -> bytes:
        """Return the message of a record that is encoded already."""
        return self._frame + datum


def read_data(path: Path) -> tuple[Mapping[str, Any], Iterator[tuple[bytes, dict[str, Any]]]]:
    """Return the schema of a container file, as it stands there, and its records: as bytes and decoded.

    Raises
    ------
    ConfigurationError
        If it cannot be read; of a record, when its turn comes.
    """
    with _readable(path):
        blocks = fastavro.block_reader(io.BytesIO(path.read_bytes()))
        schema: Any = blocks.writer_schema
        # Without logical types, whose values may not be written again.
        parsed = vet(schema).parsed
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise ConfigurationError(f"{path} holds no records", remedy="remove it from the directory")
    return schema, _records(path, blocks, parsed)


def history_rows(packet: Mapping[str, Any], histories: Sequence[str]) -> int:
    """Return how many rows the histories of a packet have.

    Examples
    --------
    >>> history_rows({"prvDiaSources": [{}, {}], "prvDiaForcedSources": None}, ["prvDiaSources"])
    2
    """
    return sum(len(packet.get(name) or ()) for name in histories)


def thinned(packet: Mapping[str, Any], histories: Sequence[str], rows: int) -> dict[str, Any]:
    """Return a packet with no more than so many rows in its histories together, evenly chosen in time.

    The first and the last row stay, and with them the span: a period search costs what it did.

    Examples
    --------
    >>> thinned({"a": [{"midpointMjdTai": t} for t in range(5)], "b": None}, ["a", "b"], 2)
    {'a': [{'midpointMjdTai': 0}, {'midpointMjdTai': 4}], 'b': None}
    """
    places = [
        (row[TIME], name, place) for name in histories for place, row in enumerate(packet.get(name) or ())
    ]
    if len(places) <= rows:
        return dict(packet)
    places.sort()
    chosen = np.linspace(0, len(places) - 1, rows).round().astype(int)
    kept = {places[number][1:] for number in chosen.tolist()}
    cut = {
        name: [row for place, row in enumerate(packet[name]) if (name, place) in kept]
        for name in histories
        if packet.get(name) is not None
    }
    return {**packet, **cut}


def _records(path: Path, blocks: Any, parsed: Any) -> Iterator[tuple[bytes, dict[str, Any]]]:
    with _readable(path):
        for block in blocks:
            content = io.BytesIO(block.bytes_.getvalue())
            for _ in range(block.num_records):
                begin = content.tell()
                record: Any = fastavro.schemaless_reader(content, parsed, None)
                yield content.getbuffer()[begin : content.tell()].tobytes(), record


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # fastavro lets out whatever the bytes cause
        raise ConfigurationError(
            f"cannot read {path} ({type(error).__name__}: {error})", remedy="remove it from the directory"
        ) from error
