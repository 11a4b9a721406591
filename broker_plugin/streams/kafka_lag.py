# SPDX-License-Identifier: BSD-3-Clause
"""How many messages lie ahead of a consumer, and where there are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, TopicPartition

from broker_plugin.streams.kafka_message import offsets_of
from broker_plugin.streams.ownership import Place

__all__ = ["ends_reached", "messages_ahead"]

ASKED_S = 0.5
"""Longest wait for one partition's end. It holds the loop, which has nothing else to do while it is paused;
after the first partition that gives no answer the others are not asked."""


def messages_ahead(consumer: Consumer, *, fetching: bool) -> Counter[str]:
    """Return how many messages lie behind the consumer's positions, by topic.

    Parameters
    ----------
    consumer
        A member of a group.
    fetching
        Whether it is reading. Then the brokers' answers to that say where the partitions end; to one that is
        paused they say nothing, so they are asked.
    """
    ahead: Counter[str] = Counter()
    places = consumer.position(consumer.assignment())
    # One that brought no message yet has no position; it goes on where the group has committed.
    committed = _committed(consumer, [place for place in places if place.offset < 0])
    for place in places:
        ends = None if fetching else _asked(consumer, place)
        fetching = fetching or ends is None
        ends = ends or consumer.get_watermark_offsets(place, cached=True)
        if ends is None or ends[1] == OFFSET_INVALID:
            continue
        position = committed.get((place.topic, place.partition), place.offset)
        ahead[place.topic] += max(0, ends[1] - max(0, ends[0], position))
    return ahead


def ends_reached(consumer: Consumer) -> dict[Place, int]:
    """Return the partitions that were read to their end, and the offset behind the last message of each.

    As far as the brokers' last answers say, and they are not asked again. A partition of which no message was
    read, or that ends with markers of transactions, is not among them.
    """
    places = consumer.position(consumer.assignment())
    ends = [consumer.get_watermark_offsets(place, cached=True) for place in places]
    return {
        (place.topic, place.partition): place.offset
        for place, found in zip(places, ends, strict=True)
        if found is not None and place.offset >= max(0, found[1]) and found[1] != OFFSET_INVALID
    }


def _committed(consumer: Consumer, places: Sequence[TopicPartition]) -> dict[Place, int]:
    """Return the group's offsets of some partitions, negative where there are none or nobody answers."""
    try:
        return offsets_of(consumer.committed(list(places), timeout=ASKED_S)) if places else {}
    except KafkaException:
        return {}


def _asked(consumer: Consumer, place: TopicPartition) -> tuple[int, int] | None:
    try:
        return consumer.get_watermark_offsets(place, timeout=ASKED_S)
    except KafkaException:
        return None
