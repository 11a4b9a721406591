# SPDX-License-Identifier: BSD-3-Clause
"""The Avro schemas of the topics that we write, and records in and out of them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any

import fastavro
from fastavro.types import Schema

from broker_plugin.codec.record_writer import long_bytes

__all__ = ["TOPIC_SCHEMAS", "EncodeRecord", "TopicSchema", "topic_schema"]

EncodeRecord = Callable[[Mapping[str, Any]], bytes]
"""How a record becomes bytes: `TopicSchema.container`, or bare Avro framed with a registry's schema id."""

TOPIC_SCHEMAS = ("verdict.v1", "candidate.v1", "embedding.v1", "ledger.v1")
"""Names of the schemas, each a file `schemas/NAME.avsc`; one major version a topic."""

INCLUDED = {"astrom3.verdict.v1.Verdict": "verdict.v1"}
"""Types that another file defines. They are written out where they are first named, so that each schema is
whole and a registry needs no references."""

ONE_RECORD = long_bytes(1)
"""How many records the only block of a message's container file holds."""


class TopicSchema:
    """One schema: docs, units and UCDs in its text, and records to bytes.

    Parameters
    ----------
    name
        One of `TOPIC_SCHEMAS`.

    Examples
    --------
    >>> topic_schema("ledger.v1").version
    '1.0'
    """

    def __init__(self, name: str) -> None:
        plain = _whole(json.loads(_file(name)))
        self.name = name
        self.text = json.dumps(plain, ensure_ascii=False) if plain != json.loads(_file(name)) else _file(name)
        self.version = str(plain["version"])
        self.parsed: Schema = fastavro.parse_schema(plain)
        # The schema is most of such a file, and the same in each: it is written out once.
        self._sync = hashlib.md5(self.text.encode(), usedforsecurity=False).digest()
        header = io.BytesIO()
        fastavro.writer(header, self.parsed, [], sync_marker=self._sync)
        self._header = header.getvalue()

    def datum(self, record: Mapping[str, Any]) -> bytes:
        """Return a record as bare Avro, to be framed with a registry's schema id."""
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, self.parsed, record)
        return buffer.getvalue()

    def container(self, record: Mapping[str, Any]) -> bytes:
        """Return a record as an Avro container file of its own, which needs nothing else to be read."""
        return self.contained(self.datum(record))

    def contained(self, datum: bytes) -> bytes:
        """Return what `datum` returned as an Avro container file of one record."""
        return b"".join((self._header, ONE_RECORD, long_bytes(len(datum)), datum, self._sync))


@cache
def topic_schema(name: str) -> TopicSchema:
    """Return a schema by its name."""
    return TopicSchema(name)


def _file(name: str) -> str:
    return resources.files("broker_plugin.codec").joinpath(f"schemas/{name}.avsc").read_text("utf-8")


def _whole(part: Any) -> Any:
    if isinstance(part, str) and part in INCLUDED:
        return json.loads(_file(INCLUDED[part]))
    if isinstance(part, dict):
        return {key: _whole(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_whole(value) for value in part]
    return part
