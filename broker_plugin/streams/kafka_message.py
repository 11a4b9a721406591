# SPDX-License-Identifier: BSD-3-Clause
"""Kafka's messages and partitions as ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import methodcaller
from typing import Any

import structlog
from confluent_kafka import Message as KafkaMessage
from confluent_kafka import TopicPartition

from broker_plugin.errors import ConfigurationError
from broker_plugin.streams.base import Headers, Message
from broker_plugin.streams.ownership import Place

__all__ = ["message_of", "names", "offsets_of", "places_of"]

log = structlog.get_logger(__name__)

HEADERS: Callable[[KafkaMessage], Any] = methodcaller("headers")
"""Calls the library by the way on which the interpreter checks its answer. For a name that is no UTF-8 it is
a list with a hole and an unnoticed exception; a method call in a warm loop would pass both on."""


def message_of(received: KafkaMessage) -> Message:
    """Return a message of the library as one of ours."""
    topic, partition, offset = received.topic(), received.partition(), received.offset()
    if topic is None or partition is None or offset is None:
        raise ConfigurationError("a message without a place; the Kafka library does not fit this program")
    kind, timestamp_ms = received.timestamp()
    return Message(
        topic=topic,
        partition=partition,
        offset=offset,
        value=received.value() or b"",
        key=received.key(),
        headers=_headers_of(received),
        timestamp_ms=timestamp_ms if kind else None,
    )


def places_of(partitions: Iterable[TopicPartition]) -> list[Place]:
    """Return topic and partition of each."""
    return [(partition.topic, partition.partition) for partition in partitions]


def offsets_of(partitions: Iterable[TopicPartition]) -> dict[Place, int]:
    """Return the offset of each."""
    return {(partition.topic, partition.partition): partition.offset for partition in partitions}


def names(partitions: Iterable[TopicPartition]) -> list[str]:
    """Return how each is written in a log."""
    return [f"{topic}[{partition}]" for topic, partition in places_of(partitions)]


def _headers_of(received: KafkaMessage) -> Headers:
    try:
        headers = HEADERS(received) or ()
    except (SystemError, UnicodeDecodeError):
        # The library cannot give headers of which one's name is no UTF-8. Nothing of an alert is in them.
        log.debug("headers_unreadable", topic=received.topic(), offset=received.offset())
        return ()
    return tuple((name, value or b"") for name, value in headers)
