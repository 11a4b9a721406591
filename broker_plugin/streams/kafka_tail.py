# SPDX-License-Identifier: BSD-3-Clause
"""A topic read by one reader alone: no group, no offsets kept, so nothing to be granted but the topic."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from broker_plugin.streams.base import Message
from broker_plugin.streams.kafka_admission import Admission
from broker_plugin.streams.kafka_client import KafkaAddress, make_client, sort_error, wait_for_topics
from broker_plugin.streams.kafka_member import NO_GROUP, READING
from broker_plugin.streams.kafka_message import message_of, names
from broker_plugin.streams.kafka_rights import require_rights
from broker_plugin.streams.kafka_start import watermarks

__all__ = ["KafkaTail"]

log = structlog.get_logger(__name__)

METADATA_S = 10.0
"""Longest wait for the list of the topic's partitions."""


class KafkaTail:
    """Messages of one topic from its beginning or from now on; `commit` does nothing.

    Where messages were deleted before they were read, it goes on with the oldest that is left, and where the
    topic lost its end, or was made anew, with the next one; it says so.

    Parameters
    ----------
    address
        The cluster.
    topic
        The topic. Partitions that are added later are not noticed.
    from_beginning
        Begin with the oldest message instead of with the next one.
    since_ms
        Begin with the messages since a moment instead.
    """

    def __init__(
        self, address: KafkaAddress, topic: str, *, from_beginning: bool = False, since_ms: int | None = None
    ) -> None:
        self._address = address
        self._topic = topic
        self._admission = Admission(address)
        self._consumer = make_client(
            Consumer,
            address,
            {
                **READING,
                "group.id": NO_GROUP,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",  # the library would be silent; see `_find_places`
            },
            admission=self._admission,
        )
        self._start = OFFSET_BEGINNING if from_beginning else OFFSET_END
        self._since_ms = since_ms
        self._astray: list[TopicPartition] = []

    def connect(self, *, deadline_s: float, stop: threading.Event | None = None) -> None:
        """Wait until the cluster answers and has the topic, and begin.

        Raises
        ------
        TransientError, ConfigurationError
            If it does not answer in time, or has no such topic or does not let us in.
        TokenError
            If we are not let in in time, and that may pass.
        """
        wait_for_topics(
            self._consumer,
            [self._topic],
            bootstrap=self._address.bootstrap,
            deadline_s=deadline_s,
            stop=stop,
            admission=self._admission,
        )
        if stop is not None and stop.is_set():
            return
        require_rights(self._address, read=[self._topic])
        try:
            partitions = self._consumer.list_topics(self._topic, timeout=METADATA_S).topics[self._topic]
            start = self._start if self._since_ms is None else self._since_ms
            places = [TopicPartition(self._topic, number, start) for number in partitions.partitions]
            if self._since_ms is not None:
                places = self._consumer.offsets_for_times(places, timeout=METADATA_S)
        except KafkaException as error:
            raise sort_error(error.args[0], f"looking for {self._topic}") from error
        self._consumer.assign(places)

    def poll(self, batch_max: int, timeout_s: float) -> Sequence[Message]:
        """Return up to `batch_max` messages, waiting at most `timeout_s` for the first."""
        self._find_places()
        try:
            received = self._consumer.consume(batch_max, timeout_s)
        except KafkaException as error:
            raise sort_error(error.args[0], "reading") from error
        messages = []
        for message in received:
            defect = message.error()
            if defect is None:
                messages.append(message_of(message))
            elif defect.code() == KafkaError._AUTO_OFFSET_RESET:
                # Not looked into here: with an error what was received beside it would be lost.
                at = int(message.partition() or 0), int(message.offset() or 0)
                self._astray.append(TopicPartition(self._topic, *at))
            else:
                log.warning("kafka_error", code=defect.name(), detail=defect.str())
        return messages

    def commit(self, messages: Sequence[Message]) -> None:
        """Do nothing: this reader leaves no trace."""

    def owned(self, messages: Sequence[Message]) -> list[Message]:
        """Return all messages: nobody takes any away."""
        return list(messages)

    def keep_alive(self) -> None:
        """Do nothing: there is no group that would drop this reader."""

    def joined(self) -> bool:
        """Tell that it reads: it waits for no group."""
        return True

    @property
    def exhausted(self) -> bool:
        """Never: a stream goes on."""
        return False

    def close(self) -> None:
        """Stop reading."""
        self._consumer.close()

    def _find_places(self) -> None:
        """Go on in partitions of which the log does not have our offset, or did not have it for a while."""
        while self._astray:
            place = self._astray[-1]
            name, wanted = names([place])[0], place.offset
            try:
                begins, ends = watermarks(self._consumer, place)
            except KafkaException as error:
                raise sort_error(error.args[0], f"looking where {name} goes on") from error
            at = min(max(wanted, begins), ends)
            if at != wanted:  # else it came back: a leader that had fallen behind
                log.error(
                    "messages_lost", partition=name, wanted=wanted, begins=begins, ends=ends, goes_on_at=at
                )
            self._consumer.incremental_unassign([place])
            self._consumer.incremental_assign([TopicPartition(place.topic, place.partition, at)])
            self._astray.pop()
