# SPDX-License-Identifier: BSD-3-Clause
"""What a test does with a Kafka cluster: make topics, write, read everything, look at offsets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, TypeVar, cast

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # not in __all__

__all__ = ["IN_FLIGHT", "KafkaCluster", "KafkaRecord", "Outgoing"]

REQUEST_S = 30.0
"""Longest wait for one administrative answer."""

LARGEST_MESSAGE_BYTES = 100_000_000
"""Above any message of a test, so that the cluster's limit decides and not the test's client."""

FETCH_WAIT_MS = 20
"""How long the broker holds back the answer that a partition ends here; by default half a second."""

RECONNECT_MS = 500
"""Longest pause before a kept client looks whether a restarted broker is back; by default ten seconds."""

SILENT = "0"
"""librdkafka's log level: it would report every refused connection while a server is down."""

NOT_YET_LED = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
    }
)
"""What a broker answers about a group or a partition until it has taken it up: a new one, or one that it led
before it restarted."""

LED_PAUSE_S = 0.2
"""That takes tenths of a second."""

IN_FLIGHT = 1
"""With more, a producer may lose its first messages to a topic just made, and report them as delivered; see
`broker_plugin.streams.kafka_sink`."""

UNASSIGNED = -1
"""librdkafka's "whichever partition the key falls on"."""

Answer = TypeVar("Answer")

Outgoing = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]
"""Key, value and headers of one record to be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaRecord:
    """One record as it lies on a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int


class KafkaCluster:
    """A Kafka cluster, ours or a given one, known by its bootstrap address.

    Parameters
    ----------
    bootstrap
        `host:port`, or several with commas between.
    """

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        # Kept, because a test asks ten times a second, and a new client costs the broker 30 ms of computing.
        self._kept_admin: AdminClient | None = None
        self._kept_readers: dict[str, Consumer] = {}
        self._kept_member: tuple[str, Consumer] | None = None

    def serves(self) -> bool:
        """Return whether a broker answers with metadata in which every partition has a leader."""
        try:
            metadata = self._new_admin().list_topics(timeout=2.0)
        except KafkaException:
            return False
        partitions = (part for topic in metadata.topics.values() for part in topic.partitions.values())
        return bool(metadata.brokers) and all(part.leader >= 0 for part in partitions)

    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        *,
        max_message_bytes: int | None = None,
        config: Mapping[str, str] | None = None,
    ) -> str:
        """Make a topic, wait until it can be written, and return its name.

        Parameters
        ----------
        name
            Name of the topic.
        partitions
            How many.
        max_message_bytes
            Largest record batch it takes; by default what the broker takes.
        config
            Further settings of the topic.
        """
        settings = dict(config or {})
        if max_message_bytes is not None:
            settings["max.message.bytes"] = str(max_message_bytes)
        wanted = NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings)
        (made,) = self._admin().create_topics([wanted], operation_timeout=REQUEST_S).values()
        made.result(REQUEST_S)
        return name

    def produce(self, topic: str, records: Iterable[Outgoing], *, partition: int | None = None) -> None:
        """Write records, in order, and return when all of them are acknowledged by all replicas."""
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failures.append(error)
            elif message.offset() is None:
                failures.append(KafkaError(KafkaError._STATE, "acknowledged without an offset"))

        producer = self._producer
        where = UNASSIGNED if partition is None else partition
        for key, value, headers in records:
            while True:
                try:
                    producer.produce(topic, value, key, where, delivered, headers=list(headers))
                except BufferError:
                    producer.poll(0.1)
                else:
                    break
            producer.poll(0)
        unsent = producer.flush(2 * REQUEST_S)
        if failures:
            raise KafkaException(failures[0])
        if unsent:
            raise TimeoutError(f"{unsent} records for {topic} were not acknowledged")

    def consume_all(
        self,
        topic: str,
        *,
        expected: int | None = None,
        timeout_s: float = 30.0,
        isolation: Literal["read_committed", "read_uncommitted"] = "read_committed",
    ) -> list[KafkaRecord]:
        """Read a topic from its beginning, outside any group, up to its present end.

        Parameters
        ----------
        topic
            Name of the topic.
        expected
            Wait until there are at least so many; more are returned too, so that a test that counts
            them sees a duplicate. By default, return what is there.
        timeout_s
            Raise `TimeoutError` if fewer have come by then.
        isolation
            Whether the records of open and aborted transactions are left out.
        """
        settings = {
            **self._client(),
            "group.id": f"reader-of-{topic}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": isolation,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": FETCH_WAIT_MS,
            "fetch.message.max.bytes": LARGEST_MESSAGE_BYTES,
            "receive.message.max.bytes": 10 * LARGEST_MESSAGE_BYTES,
        }
        deadline = time.monotonic() + timeout_s
        found: list[KafkaRecord] = []
        consumer = Consumer(settings)
        try:
            parts = self.partitions(topic)
            consumer.assign([TopicPartition(topic, part, 0) for part in parts])
            unread = set(parts)
            while unread or (expected is not None and len(found) < expected):
                if time.monotonic() > deadline:
                    wanted = "all" if expected is None else str(expected)
                    raise TimeoutError(f"{topic}: {len(found)} of {wanted} records in {timeout_s:g} s")
                message = consumer.poll(0.2)
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    unread.add(_place(message)[0])
                    found.append(_record(message))
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(_place(message)[0])
                elif not error.retriable() and error.code() != KafkaError._TRANSPORT:
                    raise KafkaException(error)
        finally:
            consumer.close()
        return found

    def topics(self) -> list[str]:
        """Return the names of the topics that there are; none is made by asking."""
        return sorted(self._admin().list_topics(timeout=REQUEST_S).topics)

    def partitions(self, topic: str) -> list[int]:
        """Return the numbers of the topic's partitions."""
        return sorted(self._admin().list_topics(topic, timeout=REQUEST_S).topics[topic].partitions)

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Return, for each partition, the offset that its next record will have."""
        return self._ends(topic, "read_uncommitted")

    def _ends(self, topic: str, isolation: str) -> dict[int, int]:
        consumer = self._reader(isolation)
        ends = {}
        for part in self.partitions(topic):
            place = TopicPartition(topic, part)
            watermarks = _once_led(partial(consumer.get_watermark_offsets, place, timeout=REQUEST_S))
            if watermarks is None:
                raise TimeoutError(f"{topic}[{part}]: no answer about its end")
            ends[part] = watermarks[1]
        return ends

    def has_open_transaction(self, topic: str) -> bool:
        """Return whether a transaction on the topic is neither committed nor aborted."""
        return self._ends(topic, "read_committed") != self._ends(topic, "read_uncommitted")

    def group_committed(self, group: str, topic: str) -> dict[int, int]:
        """Return a consumer group's committed offsets; partitions without one are left out.

        A coordinator that has just come back is waited for.
        """
        consumer = self._member(group)
        wanted = [TopicPartition(topic, part) for part in self.partitions(topic)]
        committed = _once_led(partial(consumer.committed, wanted, timeout=REQUEST_S))
        return {part.partition: part.offset for part in committed if part.offset != OFFSET_INVALID}

    @cached_property
    def _producer(self) -> Producer:
        # Kept, because each new idempotent producer waits half a second for its identity.
        settings = {
            **self._client(),
            "enable.idempotence": True,
            "max.in.flight": IN_FLIGHT,
            "linger.ms": 5,
            "message.max.bytes": LARGEST_MESSAGE_BYTES,
            "queue.buffering.max.kbytes": 1_000_000,
        }
        return Producer(settings)

    def _client(self) -> dict[str, str | int | float | bool]:
        return {
            "bootstrap.servers": self.bootstrap,
            "log_level": SILENT,
            "reconnect.backoff.max.ms": RECONNECT_MS,
        }

    def _admin(self) -> AdminClient:
        if self._kept_admin is None:
            self._kept_admin = self._new_admin()
        return self._kept_admin

    def _new_admin(self) -> AdminClient:
        return AdminClient({**self._client(), "socket.connection.setup.timeout.ms": 2000})

    def _reader(self, isolation: str) -> Consumer:
        if isolation not in self._kept_readers:
            settings = {**self._client(), "group.id": "reader", "isolation.level": isolation}
            self._kept_readers[isolation] = Consumer(settings)
        return self._kept_readers[isolation]

    def _member(self, group: str) -> Consumer:
        """Return a consumer of a group that never joins it; that of the group before is closed."""
        if self._kept_member is None or self._kept_member[0] != group:
            if self._kept_member is not None:
                self._kept_member[1].close()
            self._kept_member = (group, Consumer({**self._client(), "group.id": group}))
        return self._kept_member[1]


def _place(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    if partition is None or offset is None:
        raise ValueError("a record without a place on its topic")
    return partition, offset


def _record(message: Message) -> KafkaRecord:
    partition, offset = _place(message)
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    return KafkaRecord(
        topic=message.topic() or "",
        partition=partition,
        offset=offset,
        key=message.key(),
        value=message.value(),
        headers=tuple((name, value or b"") for name, value in headers),
        timestamp_ms=message.timestamp()[1],
    )


def _once_led(ask: Callable[[], Answer]) -> Answer:
    """Return the answer of a cluster that may still be taking up what is asked about."""
    deadline = time.monotonic() + REQUEST_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in NOT_YET_LED or time.monotonic() > deadline:
                raise
        time.sleep(LED_PAUSE_S)
