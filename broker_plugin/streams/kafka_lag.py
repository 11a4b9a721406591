# SPDX-License-Identifier: BSD-3-Clause
"""How many messages lie ahead of a consumer, and where there are none."""

from __future__ import annotations

from collections import Counter

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_INVALID,
    Consumer,
    KafkaException,
    TopicPartition,
)

from broker_plugin.streams.kafka_message import offsets_of
from broker_plugin.streams.ownership import Place

__all__ = ["ends_reached", "messages_ahead"]

ASKED_S = 0.5
"""Longest wait for one answer. It holds the loop, which has nothing else to do while it is paused."""


def messages_ahead(consumer: Consumer, *, fetching: bool) -> Counter[str]:
    """Return how many messages lie behind the consumer's positions, by topic.

    Parameters
    ----------
    consumer
        A member of a group.
    fetching
        Whether it is reading. Then the brokers' answers to that say where the partitions end; to one that is
        paused they say nothing, so they are asked, once for all partitions.
    """
    ahead: Counter[str] = Counter()
    positions = consumer.position(consumer.assignment())
    # One that brought no message yet has no position; it goes on where the group has committed.
    unread = [place for place in positions if place.offset < 0]
    committed = _committed(consumer, unread)
    ends = {} if fetching else _asked(consumer, positions, OFFSET_END)
    begins = _asked(consumer, unread, OFFSET_BEGINNING) if ends else {}
    for place in positions:
        key = (place.topic, place.partition)
        begin, end = consumer.get_watermark_offsets(place, cached=True) or (OFFSET_INVALID, OFFSET_INVALID)
        begin, end = begins.get(key, begin), ends.get(key, end)
        if end < 0 or (place.offset < 0 and key not in committed):
            continue
        ahead[place.topic] += max(0, end - max(0, begin, committed.get(key, place.offset)))
    return ahead


def ends_reached(consumer: Consumer) -> dict[Place, int]:
    """Return the partitions that were read to their end, and the offset of that.

    As far as the brokers' last answers say, and they are not asked again. A partition of which no message was
    read is not among them. Behind the last message there may be markers of transactions, which the library
    counts as read.
    """
    places = consumer.position(consumer.assignment())
    ends = [consumer.get_watermark_offsets(place, cached=True) for place in places]
    return {
        (place.topic, place.partition): place.offset
        for place, found in zip(places, ends, strict=True)
        if found is not None and place.offset >= max(0, found[1]) and found[1] != OFFSET_INVALID
    }


def _committed(consumer: Consumer, places: list[TopicPartition]) -> dict[Place, int]:
    """Return the group's offsets of partitions, negative where there are none; nothing if nobody answers."""
    try:
        return offsets_of(consumer.committed(places, timeout=ASKED_S)) if places else {}
    except KafkaException:
        return {}


def _asked(consumer: Consumer, places: list[TopicPartition], which: int) -> dict[Place, int]:
    """Return one end of each partition by its brokers' answer, as far as they give one."""
    wanted = [TopicPartition(place.topic, place.partition, which) for place in places]
    try:
        found = consumer.offsets_for_times(wanted, timeout=ASKED_S) if wanted else []
    except KafkaException:
        return {}
    return offsets_of(place for place in found if place.error is None)
