# SPDX-License-Identifier: BSD-3-Clause
"""A topic as it is now: every committed message from its beginning, or a moment, up to its present end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from broker_plugin.errors import ConfigurationError, TransientError
from broker_plugin.instants import stamp_of
from broker_plugin.streams.base import Message
from broker_plugin.streams.kafka_client import KafkaAddress, make_client, sort_error, wait_for_topics
from broker_plugin.streams.kafka_member import NO_GROUP, READING
from broker_plugin.streams.kafka_message import message_of

__all__ = ["KafkaSnapshot"]

log = structlog.get_logger(__name__)

ANSWER_S = 10.0
"""Longest wait for one answer about a topic."""

SILENCE_S = 30.0
"""A broker that has sent nothing for so long, though it has more, is down."""

READ_MAX = 500
"""Messages taken at once."""

WAIT_S = 0.05
"""Wait for as many: where a topic ends, somebody is waiting for the answer."""


class KafkaSnapshot:
    """Reads a topic once, alone, outside any group. A context; nothing is committed.

    Parameters
    ----------
    address
        The cluster.
    topic
        The topic, which must be there.

    Raises
    ------
    ConfigurationError, TransientError
        If there is no such topic, or no broker answers.
    """

    def __init__(self, address: KafkaAddress, topic: str) -> None:
        self._address = address
        self._topic = topic
        self._consumer = make_client(
            Consumer,
            address,
            {
                **READING,
                "group.id": NO_GROUP,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": int(WAIT_S * 1000),
            },
        )

    def __enter__(self) -> KafkaSnapshot:
        wait_for_topics(self._consumer, [self._topic], bootstrap=self._address.bootstrap, deadline_s=ANSWER_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def span(self, *, since_ms: int | None = None) -> dict[int, tuple[int, int]]:
        """Return, for each partition, the first offset (since a moment) and the one behind the last.

        Offsets of aborted messages and of Kafka's own markers are among them.
        """
        try:
            numbers = self._consumer.list_topics(self._topic, timeout=ANSWER_S).topics[self._topic].partitions
            bounds = {number: self._bounds(number) for number in numbers}
            if since_ms is None:
                return bounds
            asked = [TopicPartition(self._topic, number, since_ms) for number in bounds]
            later = self._consumer.offsets_for_times(asked, timeout=ANSWER_S)
        except KafkaException as error:
            raise sort_error(error.args[0], f"looking at {self._topic}") from error
        first = {place.partition: place.offset for place in later}
        return {
            # Negative: every message is older.
            number: (
                self._since(since_ms, number, first[number], end) if 0 <= first[number] < end else end,
                end,
            )
            for number, (_, end) in bounds.items()
        }

    def messages(self, span: Mapping[int, tuple[int, int]]) -> Iterator[Message]:
        """Yield the messages of a span, in order within each partition.

        Raises
        ------
        TransientError
            If the cluster falls silent in between.
        """
        ends = {number: end for number, (begin, end) in span.items() if begin < end}
        self._consumer.assign([TopicPartition(self._topic, number, span[number][0]) for number in ends])
        heard = time.monotonic()
        while ends:
            for received in self._received():
                heard = time.monotonic()
                error, number = received.error(), received.partition()
                if error is None:
                    message = message_of(received)
                    if message.offset < ends.get(message.partition, 0):
                        yield message
                    if message.offset + 1 >= ends.get(message.partition, 0):
                        ends.pop(message.partition, None)
                elif error.code() == KafkaError._PARTITION_EOF:
                    ends.pop(number, None)
                else:
                    stop = sort_error(error, f"reading {self._topic}")
                    if isinstance(stop, ConfigurationError):
                        raise stop
                    log.warning("kafka_error", code=error.name(), detail=error.str())
            if time.monotonic() - heard > SILENCE_S:
                raise TransientError(f"{self._topic}: no answer for {SILENCE_S:g} s; is Kafka up?")
        self._consumer.unassign()

    def message(self, partition: int, offset: int) -> Message | None:
        """Return the message at a place, or None if there is none (any more)."""
        begin, end = self.span().get(partition, (0, 0))
        if not begin <= offset < end:
            return None
        found = next(self.messages({partition: (offset, offset + 1)}), None)
        return found if found is not None and found.offset == offset else None

    def _since(self, since_ms: int, number: int, found: int, end: int) -> int:
        """Return the first offset since a moment, of which Kafka found one.

        Kafka's answer is the first message that bears such a time. One that claims to be from the future is
        its answer for every moment from the message before it on; what is behind it is searched by halves.
        """
        message = self._next(number, found, end)
        if message is None or stamp_of(message.timestamp_ms) is not None:
            return found
        low, high = message.offset + 1, end
        while low < high:
            middle = (low + high) // 2
            honest = self._next(number, middle, high, honest=True)
            if honest is None or (honest.timestamp_ms or 0) >= since_ms:
                high = middle
            else:
                low = honest.offset + 1
        return low

    def _next(self, number: int, begin: int, end: int, *, honest: bool = False) -> Message | None:
        """Return the first message (whose time can be true) from an offset on."""
        found = self.messages({number: (begin, end)})
        return next((m for m in found if not honest or stamp_of(m.timestamp_ms) is not None), None)

    def _received(self) -> list[Any]:
        try:
            return self._consumer.consume(READ_MAX, WAIT_S)
        except KafkaException as error:
            raise sort_error(error.args[0], f"reading {self._topic}") from error

    def _bounds(self, number: int) -> tuple[int, int]:
        bounds = self._consumer.get_watermark_offsets(TopicPartition(self._topic, number), timeout=ANSWER_S)
        if bounds is None:
            raise TransientError(f"{self._topic}[{number}]: no answer about its end")
        return bounds
