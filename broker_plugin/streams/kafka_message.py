# SPDX-License-Identifier: BSD-3-Clause
"""Kafka's messages and partitions as ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from confluent_kafka import Message as KafkaMessage
from confluent_kafka import TopicPartition

from broker_plugin.errors import ConfigurationError
from broker_plugin.streams.base import Message
from broker_plugin.streams.ownership import Place

__all__ = ["message_of", "names", "offsets_of", "places_of"]


def message_of(received: KafkaMessage) -> Message:
    """Return a message of the library as one of ours."""
    topic, partition, offset = received.topic(), received.partition(), received.offset()
    if topic is None or partition is None or offset is None:
        raise ConfigurationError("a message without a place; the Kafka library does not fit this program")
    kind, timestamp_ms = received.timestamp()
    headers: Any = received.headers() or ()
    return Message(
        topic=topic,
        partition=partition,
        offset=offset,
        value=received.value() or b"",
        key=received.key(),
        headers=tuple((name, value or b"") for name, value in headers),
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
