# SPDX-License-Identifier: BSD-3-Clause
"""The ledger: for each survey night and partition, what became of the messages.

A process counts in *stretches*: one night of one partition, from the first message that it does. Each batch
writes the stretch anew under the same key, so that the compacted topic keeps one entry of it; a restart, a
rebalance that rewinds, or a doubt begins another under another key. An entry is therefore never taken back by
a later one of another process, and what was done is the union of all stretches:

- With at-least-once the entry is sent when the batch's verdicts are acknowledged, and offsets are committed
  when the entry is. A kill in between repeats messages, which shows as overlapping stretches; no offset is
  ever committed that no entry covers, and no entry covers what was not acknowledged.
- With exactly-once the entry is in the transaction. Stretches do not overlap.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from broker_plugin import __version__
from broker_plugin.codec.topic_schema import EncodeRecord
from broker_plugin.instants import stamp_of
from broker_plugin.nights import night_of
from broker_plugin.pipeline.outbox import Parcel
from broker_plugin.streams.base import OutgoingMessage
from broker_plugin.streams.ownership import Place

__all__ = ["Ledger", "LedgerEntry", "Stretch"]

GAPS_MAX = 200
"""A stretch with so many gaps is ended and another begun: an entry stays below the 10 kB that any topic
takes."""

OPEN_MAX = 4096
"""Stretches that are remembered, the last used: nightly topics must not fill the memory. A message of one
that was forgotten begins another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What one process did of one partition in one night, as in `schemas/ledger.v1.avsc`."""

    night: date
    topic: str
    partition: int
    stretch: str
    first_offset: int
    last_offset: int
    gaps: tuple[tuple[int, int], ...] = ()
    messages: int = 0
    verdicts: int = 0
    dead_letters: int = 0
    duplicates: int = 0
    complete: bool = False

    def covers(self, offset: int) -> bool:
        """Tell whether this stretch has done the message at an offset."""
        return self.first_offset <= offset <= self.last_offset and not any(
            first <= offset <= last for first, last in self.gaps
        )

    def takes(self, offset: int) -> bool:
        """Tell whether the message at an offset may become the next of this stretch."""
        return offset > self.last_offset and len(self.gaps) < GAPS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """The stretch that grows, and the one before it, which tells what is done a second time."""

    stretch: Stretch
    before: Stretch | None = None

    def was_done(self, offset: int) -> bool:
        return self.stretch.covers(offset) or (self.before is not None and self.before.covers(offset))


Key = tuple[str, int, date]
"""Topic, partition and night."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """What a batch writes into the ledger, and what the ledger knows once that is written."""

    messages: tuple[OutgoingMessage, ...]
    after: Mapping[Key, Open]


class Ledger:
    """Keeps the stretches of one process.

    Parameters
    ----------
    topic
        Topic of the entries.
    survey, group
        Whose nights, and whose work.
    output, dead_letters
        Topics of the verdicts and of the dead letters, by which contents are told apart.
    encode
        How an entry becomes bytes.
    ends_reached
        Tells which partitions were read to their end, and the offset behind the last message of each.
    """

    def __init__(
        self,
        topic: str,
        *,
        survey: str,
        group: str,
        output: str,
        dead_letters: str,
        encode: EncodeRecord,
        ends_reached: Callable[[], Mapping[Place, int]] = dict,
    ) -> None:
        self._topic = topic
        self._survey = survey
        self._group = group
        self._output = output
        self._dead_letters = dead_letters
        self._encode = encode
        self._ends_reached = ends_reached
        self._open: dict[Key, Open] = {}

    def entry(self, parcels: Sequence[Parcel]) -> LedgerEntry:
        """Return what a batch would write; the ledger knows nothing of it before `accept`."""
        after = dict(self._open)
        written: dict[str, Stretch] = {}
        for key, found in self._by_key(parcels).items():
            known = after.pop(key, None)
            for parcel in found:
                known = self._with(known, key, parcel)
                written[known.stretch.stretch] = known.stretch
            if known is not None:
                after[key] = known  # the last used comes last
        for key in list(self._over(after)):
            ended = replace(after[key].stretch, complete=True)
            after[key] = replace(after[key], stretch=ended)
            written[ended.stretch] = ended
        for forgotten in list(after)[:-OPEN_MAX]:
            del after[forgotten]
        return LedgerEntry(messages=tuple(map(self._message, written.values())), after=after)

    def accept(self, entry: LedgerEntry) -> None:
        """Go on from an entry that was written."""
        self._open = dict(entry.after)

    def forget(self) -> None:
        """End all stretches: whether the last entry was written is not known, so none may be written over."""
        self._open = {}

    def _over(self, known: Mapping[Key, Open]) -> Iterator[Key]:
        """Yield the nights of which a partition will bring no more, unless they are said to be complete.

        A later night has begun: on the same partition, or on another and nothing is left on this one, since
        the topic of a night never has a message of the next.
        """
        latest: dict[Place, date] = {}
        for topic, partition, night in known:
            latest[topic, partition] = max(night, latest.get((topic, partition), night))
        last = max(latest.values(), default=date.min)
        earlier = [key for key in known if key[2] < last and not known[key].stretch.complete]
        ends = self._ends_reached() if earlier else {}
        for key in earlier:
            place = key[:2]
            behind = known[key].stretch.last_offset + 1
            if key[2] < latest[place] or behind >= ends.get(place, behind + 1):
                yield key

    def _by_key(self, parcels: Sequence[Parcel]) -> dict[Key, list[Parcel]]:
        found: dict[Key, list[Parcel]] = {}
        for parcel in parcels:
            # Of a night to come there is no message yet, and it would end this one.
            when = stamp_of(parcel.message.timestamp_ms) or datetime.now(UTC)
            key = (parcel.message.topic, parcel.message.partition, night_of(self._survey, when))
            found.setdefault(key, []).append(parcel)
        return found

    def _with(self, known: Open | None, key: Key, parcel: Parcel) -> Open:
        """Return what is known of a night and partition after one more message."""
        topic, partition, night = key
        offset = parcel.message.offset
        again = known is not None and known.was_done(offset)
        if known is None or not known.stretch.takes(offset):
            begun = Stretch(
                night=night,
                topic=topic,
                partition=partition,
                stretch=uuid.uuid4().hex,
                first_offset=offset,
                last_offset=offset,
                complete=known is not None and known.stretch.complete,
            )
            known = Open(stretch=begun, before=known.stretch if known else None)
        grown, last = known.stretch, known.stretch.last_offset
        topics = [content.topic for content in parcel.contents]
        grown = replace(
            grown,
            last_offset=offset,
            gaps=(*grown.gaps, (last + 1, offset - 1)) if offset > last + 1 else grown.gaps,
            messages=grown.messages + 1,
            verdicts=grown.verdicts + topics.count(self._output),
            dead_letters=grown.dead_letters + topics.count(self._dead_letters),
            duplicates=grown.duplicates + again,
        )
        return replace(known, stretch=grown)

    def _message(self, stretch: Stretch) -> OutgoingMessage:
        record = {
            "group": self._group,
            "survey": self._survey,
            "night": stretch.night.isoformat(),
            "topic": stretch.topic,
            "partition": stretch.partition,
            "stretch": stretch.stretch,
            "first_offset": stretch.first_offset,
            "last_offset": stretch.last_offset,
            "gaps": [{"first_offset": first, "last_offset": last} for first, last in stretch.gaps],
            "messages": stretch.messages,
            "verdicts": stretch.verdicts,
            "dead_letters": stretch.dead_letters,
            "duplicates": stretch.duplicates,
            "complete": stretch.complete,
            "plugin_version": __version__,
            "updated_at": datetime.now(UTC),
        }
        key = f"{self._group}/{record['night']}/{stretch.topic}/{stretch.partition}/{stretch.stretch}"
        return OutgoingMessage(topic=self._topic, key=key.encode(), value=self._encode(record))
