# SPDX-License-Identifier: BSD-3-Clause
"""Messages of our topics back to what they hold, however framed and of whichever minor version."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Generic, TypeVar

from broker_plugin.codec.packets import decode_message
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.verdict import Verdict, from_record, schema_text
from broker_plugin.errors import RejectedAlert, RejectReason

__all__ = ["RecordReader", "verdict_of_record", "verdict_reader"]

Item = TypeVar("Item")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RecordReader(Generic[Item]):
    """Reads records from container files, and from framed messages where a registry is given.

    Parameters
    ----------
    schemas
        Where the writer schemas of framed messages come from.
    of_record
        Makes of a record what it stands for; raises `RejectedAlert` if it is something else.
    """

    def __init__(self, schemas: SchemaStore, of_record: Callable[[Mapping[str, Any]], Item]) -> None:
        self._schemas = schemas
        self._of_record = of_record

    def read(self, value: bytes) -> Item:
        """Return what one message holds.

        Raises
        ------
        RejectedAlert
            If it is something else.
        TransientError
            If the registry does not answer.
        """
        return self._of_record(decode_message(value, schema_of=self._schemas.writer_schema).packets[0])


def verdict_reader(schemas: SchemaStore) -> RecordReader[Verdict]:
    """Return what reads the output topic."""
    return RecordReader(schemas, verdict_of_record)


def verdict_of_record(record: Mapping[str, Any]) -> Verdict:
    """Return the verdict of a record as it was decoded, its logical types still numbers.

    Raises
    ------
    RejectedAlert
        If it is none.
    """
    try:
        return from_record(_defaults() | {**record} | _times(record))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RejectedAlert(RejectReason.MISSING_FIELD, "the record is not a verdict") from error


@cache
def _defaults() -> dict[str, Any]:
    """Return what an older minor version did not write."""
    fields = json.loads(schema_text())["fields"]
    return {field["name"]: field["default"] for field in fields if "default" in field}


def _times(record: Mapping[str, Any]) -> dict[str, datetime]:
    """Return the wall-clock times; the reader leaves logical types as the numbers that they are made of."""
    return {name: EPOCH + timedelta(milliseconds=record[name]) for name in ("received_at", "emitted_at")}
