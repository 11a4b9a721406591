# SPDX-License-Identifier: BSD-3-Clause
"""Entries of the ledger read back, and what they say together of a partition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from broker_plugin.codec.packets import decode_message
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.errors import RejectedAlert
from broker_plugin.pipeline.ledger import Stretch
from broker_plugin.pipeline.offset_ranges import OffsetRanges
from broker_plugin.streams.base import Message
from broker_plugin.streams.ownership import Place

__all__ = ["LedgerReader", "covered"]


class LedgerReader:
    """Takes messages of the ledger's topic, in order, and keeps the last entry of each key.

    Parameters
    ----------
    group
        Whose entries; those of other groups are passed over.
    schemas
        Where the writer schemas of framed messages come from.
    """

    def __init__(self, group: str, schemas: SchemaStore) -> None:
        self._group = group
        self._schemas = schemas
        self._stretches: dict[bytes, Stretch] = {}
        self.foreign = 0
        """Messages that are no entries of a ledger."""

    def take(self, message: Message) -> None:
        """Take in one message.

        Raises
        ------
        TransientError
            If the registry does not answer.
        """
        key = message.key or b""
        if not message.value:  # a tombstone
            self._stretches.pop(key, None)
            return
        try:
            record = decode_message(message.value, schema_of=self._schemas.writer_schema).packets[0]
            if record["group"] == self._group:
                self._stretches[key] = _stretch(record)
        except (RejectedAlert, KeyError, TypeError, ValueError):
            self.foreign += 1

    def by_place(self) -> dict[Place, list[Stretch]]:
        """Return all stretches, by topic and partition."""
        found: dict[Place, list[Stretch]] = {}
        for stretch in self._stretches.values():
            found.setdefault((stretch.topic, stretch.partition), []).append(stretch)
        return found


def covered(stretches: Iterable[Stretch]) -> OffsetRanges:
    """Return the offsets that stretches of one partition have done.

    Examples
    --------
    >>> one = Stretch(night=date(2026, 1, 1), topic="t", partition=0, stretch="a", first_offset=0,
    ...               last_offset=9, gaps=((3, 4),))
    >>> covered([one])
    0-2 5-9
    """
    return OffsetRanges.of(piece for stretch in stretches for piece in _pieces(stretch))


def _pieces(stretch: Stretch) -> OffsetRanges:
    return OffsetRanges.of([(stretch.first_offset, stretch.last_offset)]) - OffsetRanges.of(stretch.gaps)


def _stretch(record: Mapping[str, Any]) -> Stretch:
    return Stretch(
        night=date.fromisoformat(record["night"]),
        gaps=tuple((gap["first_offset"], gap["last_offset"]) for gap in record["gaps"]),
        **{
            name: record[name]
            for name in (
                "topic",
                "partition",
                "stretch",
                "first_offset",
                "last_offset",
                "messages",
                "verdicts",
                "dead_letters",
                "duplicates",
                "complete",
            )
        },
    )
