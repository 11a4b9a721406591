# SPDX-License-Identifier: BSD-3-Clause
"""What Kafka holds of a night: input, verdicts, dead letters and ledger, read for an audit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import structlog

from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.instants import milliseconds
from broker_plugin.nights import noon_of
from broker_plugin.pipeline.audit import (
    Origin,
    Outputs,
    PartitionAudit,
    Window,
    audit_partition,
    verdict_origin,
)
from broker_plugin.pipeline.dead_letter_reader import read_letter
from broker_plugin.pipeline.ledger import Stretch
from broker_plugin.pipeline.ledger_reader import LedgerReader
from broker_plugin.pipeline.offset_ranges import OffsetRanges
from broker_plugin.streams.base import Message
from broker_plugin.streams.kafka import KafkaAddress
from broker_plugin.streams.kafka_snapshot import KafkaSnapshot
from broker_plugin.streams.kafka_topics import kept_for_s, matching_topics
from broker_plugin.streams.ownership import Place

__all__ = ["AuditedTopics", "Watch", "audit_night"]

log = structlog.get_logger(__name__)

SLACK = timedelta(hours=1)
"""How far the clock that stamps verdicts may be behind the one that stamps alerts: verdicts are looked for
from so long before the night on."""

Watch = Callable[[str, Iterable[Message], int], Iterable[Message]]
"""Passes messages on while it shows how far they are: the topic's name, the messages, about how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedTopics:
    """Where everything is.

    Parameters
    ----------
    source, sink
        The clusters of the alerts, and of all that is written.
    inputs
        The input topics, or patterns of topics.
    ledger
        Topic of the ledger, empty for none.
    """

    source: KafkaAddress
    sink: KafkaAddress
    inputs: tuple[str, ...]
    output: str
    dead_letters: str
    ledger: str = ""


def audit_night(
    topics: AuditedTopics, *, survey: str, group: str, night: date, schemas: SchemaStore, watch: Watch
) -> list[PartitionAudit]:
    """Return what became of a night, partition by partition; those with no message of the night are left out.

    Raises
    ------
    ConfigurationError
        If a topic is not there, or may not be read.
    TransientError
        If Kafka or the registry does not answer.
    """
    begin, end = noon_of(survey, night), noon_of(survey, night + timedelta(days=1))
    with ExitStack() as stack:
        inputs = {
            name: stack.enter_context(KafkaSnapshot(topics.source, name))
            for name in matching_topics(topics.source, topics.inputs)
        }
        windows = _windows(inputs, begin, end)
        verdicts = _read(topics.sink, topics.output, begin, windows, verdict_origin, watch)
        letters = _read(topics.sink, topics.dead_letters, begin, windows, _letter_origin, watch)
        stretches = _stretches(topics, group, schemas, watch)

        def existing_at(place: Place) -> Callable[[OffsetRanges], OffsetRanges]:
            return lambda asked: OffsetRanges.of_offsets(_existing(inputs[place[0]], place, asked, watch))

        return [
            audit_partition(
                place,
                window,
                verdicts=verdicts,
                dead_letters=letters,
                stretches=None if stretches is None else stretches.get(place, []),
                existing=existing_at(place),
            )
            for place, window in sorted(windows.items())
        ]


def _windows(inputs: Mapping[str, KafkaSnapshot], begin: datetime, end: datetime) -> dict[Place, Window]:
    windows: dict[Place, Window] = {}
    for name, snapshot in inputs.items():
        first = snapshot.span(since_ms=milliseconds(begin))
        behind = snapshot.span(since_ms=milliseconds(end))
        windows |= {
            (name, number): (first[number][0], behind[number][0])
            for number in first
            if first[number][0] < behind[number][0]
        }
    return windows


def _read(
    address: KafkaAddress,
    topic: str,
    begin: datetime,
    windows: Mapping[Place, Window],
    origin: Callable[[Message], Origin | None],
    watch: Watch,
) -> Outputs | None:
    """Return what a topic's messages say of the night, or None if those of the night may have expired."""
    with KafkaSnapshot(address, topic) as snapshot:
        since = begin - SLACK
        whole, span = snapshot.span(), snapshot.span(since_ms=milliseconds(since))
        # Nothing older is left: then those of the night may be gone too, unless all of it is kept.
        doubtful = any(0 < whole[number][0] == span[number][0] for number in span)
        if doubtful and (datetime.now(UTC) - since).total_seconds() >= kept_for_s(address, topic):
            return None
        outputs = Outputs(windows)
        for message in watch(topic, snapshot.messages(span), _size(span)):
            found = origin(message)
            if found is not None:
                outputs.note(found)
    return outputs


def _stretches(
    topics: AuditedTopics, group: str, schemas: SchemaStore, watch: Watch
) -> dict[Place, list[Stretch]] | None:
    if not topics.ledger:
        return None
    reader = LedgerReader(group, schemas)
    with KafkaSnapshot(topics.sink, topics.ledger) as snapshot:
        span = snapshot.span()
        for message in watch(topics.ledger, snapshot.messages(span), _size(span)):
            reader.take(message)
    if reader.foreign:
        log.warning("not_of_a_ledger", topic=topics.ledger, messages=reader.foreign)
    return reader.by_place()


def _existing(snapshot: KafkaSnapshot, place: Place, asked: OffsetRanges, watch: Watch) -> Iterator[int]:
    for first, last in asked:
        found = snapshot.messages({place[1]: (first, last + 1)})
        for message in watch(place[0], found, last - first + 1):
            yield message.offset


def _letter_origin(message: Message) -> Origin | None:
    letter = read_letter(message)
    if letter is None:
        return None
    return Origin(place=(letter.topic, letter.partition), offset=letter.offset, identity=b"dead letter")


def _size(span: Mapping[int, tuple[int, int]]) -> int:
    return sum(end - begin for begin, end in span.values())
