# SPDX-License-Identifier: BSD-3-Clause
"""A group neither skips nor repeats anything in silence, on a real Kafka whose messages are deleted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]  # not in __all__
from structlog.testing import capture_logs

from broker_plugin.errors import ConfigurationError
from broker_plugin.instants import milliseconds
from broker_plugin.streams.base import Message
from broker_plugin.streams.kafka import KafkaAddress, KafkaSource, StartPolicy
from tests.support.cluster import IN_FLIGHT, KafkaCluster
from tests.support.process import wait_until

pytestmark = pytest.mark.service

PATIENCE_S = 60.0

ANSWER_S = 30.0

PROTOCOLS = ["classic", "consumer"]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with capture_logs():
        yield


class Reader:
    """A topic of twenty messages and a group that reads it."""

    def __init__(self, cluster: KafkaCluster, name: str) -> None:
        self.cluster = cluster
        self.address = KafkaAddress(bootstrap=cluster.bootstrap)
        self.admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
        self.topic = cluster.create_topic(name)
        self.put(20)

    def put(self, number: int, topic: str = "") -> None:
        self.cluster.produce(topic or self.topic, [(None, b"%d" % n, []) for n in range(number)])

    def source(self, *topics: str, protocol: str = "consumer", **policy: object) -> KafkaSource:
        return KafkaSource(
            self.address,
            topics or [self.topic],
            group=self.topic,
            protocol=protocol,  # type: ignore[arg-type]
            start=StartPolicy(**policy),  # type: ignore[arg-type]
        )

    def read(self, number: int, **policy: object) -> list[int]:
        """Read and commit so many messages as one life of a process; return their offsets."""
        with closing(self.source(**policy)) as source:
            source.connect(deadline_s=ANSWER_S)
            messages = gather(source, number)[:number]
            source.commit(messages)
            return [message.offset for message in messages]

    def delete_before(self, offset: int) -> None:
        (deleted,) = self.admin.delete_records([TopicPartition(self.topic, 0, offset)]).values()
        deleted.result(ANSWER_S)

    def delete_topic(self) -> None:
        (deleted,) = self.admin.delete_topics([self.topic]).values()
        deleted.result(ANSWER_S)


@pytest.fixture
def reader(kafka_broker: KafkaCluster, topic: Callable[[str], str]) -> Reader:
    return Reader(kafka_broker, topic("alerts"))


def gather(source: KafkaSource, number: int) -> list[Message]:
    found: list[Message] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < number:
        assert time.monotonic() < deadline, f"{len(found)} of {number} messages"
        found += source.poll(number - len(found), 0.2)
    return found


def offsets(messages: Sequence[Message]) -> list[int]:
    return [message.offset for message in messages]


def test_deleted_messages_stop_the_group_or_are_skipped_as_the_operator_says(reader: Reader) -> None:
    assert reader.read(5) == [0, 1, 2, 3, 4]
    reader.delete_before(12)
    with pytest.raises(
        ConfigurationError,
        match=r"7 messages are lost; the group stands at offset 5, and the log begins at 12.*"
        r"--on-lost-offsets earliest \(from offset 12\) or latest \(from 20\)",
    ):
        reader.read(1)
    assert reader.cluster.group_committed(reader.topic, reader.topic) == {0: 5}
    with capture_logs() as logged:
        assert reader.read(3, on_lost="earliest") == [12, 13, 14]
    (lost,) = [entry for entry in logged if entry["event"] == "messages_lost"]
    assert (lost["group_at"], lost["begins"], lost["goes_on_at"]) == (5, 12, 12)
    assert reader.read(1) == [15]  # an offset in the log is kept, whatever the policy
    reader.delete_before(18)
    with closing(reader.source(on_lost="latest")) as source:
        source.connect(deadline_s=ANSWER_S)
        deadline = time.monotonic() + PATIENCE_S
        while not source.joined() or sum(source.lag_by_topic().values()) > 0:
            assert source.poll(10, 0.2) == []
            assert time.monotonic() < deadline
        for _ in range(10):
            assert source.poll(10, 0.2) == []
        reader.put(3)
        assert offsets(gather(source, 3)) == [20, 21, 22]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_member_that_is_overtaken_by_the_retention_says_so(reader: Reader, protocol: str) -> None:
    with closing(reader.source(protocol=protocol)) as source:
        source.connect(deadline_s=ANSWER_S)
        assert offsets(gather(source, 20)) == list(range(20))
        # Held for long enough, as by an output that is away, while the input is deleted.
        source.keep_alive()
        reader.put(30)
        reader.delete_before(45)
        with pytest.raises(ConfigurationError, match="25 messages are lost; the group stands at offset 20"):
            gather(source, 1)


def test_a_topic_that_was_made_anew_is_noticed(reader: Reader) -> None:
    reader.read(15)
    reader.delete_topic()
    deadline = time.monotonic() + PATIENCE_S
    while reader.topic in reader.admin.list_topics(timeout=ANSWER_S).topics:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    reader.cluster.create_topic(reader.topic)
    reader.put(4)
    # Kafka forgets a group's offsets on a topic that is deleted; one that was restored elsewhere has them.
    restored = reader.source()
    restored._consumer.commit(offsets=[TopicPartition(reader.topic, 0, 15)], asynchronous=False)
    restored.close()
    with pytest.raises(ConfigurationError, match="stands at offset 15, and the log ends at 4; the topic"):
        reader.read(1)
    assert reader.read(4, on_lost="earliest") == [0, 1, 2, 3]


def test_a_group_without_offsets_begins_where_it_is_told_to_and_only_then(reader: Reader) -> None:
    with pytest.raises(ConfigurationError, match=r"has no offsets and --offset-reset is stop.*20 messages"):
        reader.read(1, offset_reset="stop")
    with closing(reader.source(offset_reset="latest")) as source:
        source.connect(deadline_s=ANSWER_S)
        # Where the group begins is settled: what comes now is not skipped, though nobody has joined yet.
        reader.put(5)
        assert offsets(gather(source, 5)) == [20, 21, 22, 23, 24]
    assert reader.read(2, offset_reset="stop") == [20, 21]
    assert reader.read(2, offset_reset="earliest") == [22, 23]
    # Forgotten by Kafka, as after a week of idleness.
    (deleted,) = reader.admin.delete_consumer_groups([reader.topic]).values()
    deleted.result(ANSWER_S)
    with pytest.raises(ConfigurationError, match="has no offsets"):
        reader.read(1, offset_reset="stop")


def test_a_group_begins_with_the_messages_since_a_moment(reader: Reader) -> None:
    begin = datetime.now(UTC) - timedelta(hours=10)
    reader.topic = reader.cluster.create_topic(f"{reader.topic}-timed")
    producer = Producer({"bootstrap.servers": reader.cluster.bootstrap, "max.in.flight": IN_FLIGHT})
    for hour in range(10):
        at = milliseconds(begin + timedelta(hours=hour))
        producer.produce(reader.topic, b"%d" % hour, timestamp=at)
    assert producer.flush(ANSWER_S) == 0

    def since(hours: float) -> int:
        return milliseconds(begin + timedelta(hours=hours))

    assert reader.read(2, start_at_ms=since(3.5)) == [4, 5]
    assert reader.read(1, start_at_ms=since(0)) == [6]  # it has offsets by now
    assert reader.read(2, start_at_ms=since(2), force=True) == [2, 3]
    with closing(reader.source()) as source:
        source.connect(deadline_s=ANSWER_S)
        gather(source, 1)
        with (
            capture_logs() as logged,
            pytest.raises(
                ConfigurationError, match=r"has members.*stop them all, and wait.*session.timeout.ms"
            ),
        ):
            reader.read(1, start_at_ms=since(0), force=True)
        assert "group_begins" not in [entry["event"] for entry in logged]
    assert reader.read(1) == [4]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("offset_reset", ["earliest", "latest"])
def test_tonights_topic_and_a_new_partition_are_read_from_their_beginning(
    reader: Reader, protocol: str, offset_reset: str
) -> None:
    pattern = rf"^{reader.topic}_\d{{8}}_programid1$"
    nights = [f"{reader.topic}_202611{day}_programid1" for day in (23, 24)]
    other = reader.cluster.create_topic(f"{reader.topic}_20261124_programid2")
    reader.put(5, other)
    reader.cluster.create_topic(nights[0])
    reader.put(5, nights[0])
    with closing(reader.source(pattern, protocol=protocol, offset_reset=offset_reset)) as source:
        source.connect(deadline_s=ANSWER_S)
        if offset_reset == "earliest":
            assert offsets(gather(source, 5)) == [0, 1, 2, 3, 4]
        while not source.joined():
            source.poll(1, 0.1)
        # Midnight.
        reader.cluster.create_topic(nights[1])
        reader.put(7, nights[1])
        found = gather(source, 7)
        assert [(message.topic, message.offset) for message in found] == [(nights[1], n) for n in range(7)]
        (grown,) = reader.admin.create_partitions([NewPartitions(nights[1], 2)]).values()
        grown.result(ANSWER_S)
        wait_until(lambda: reader.cluster.partitions(nights[1]) == [0, 1], what="it", timeout_s=ANSWER_S)
        # One that knows of it.
        producer = Producer({"bootstrap.servers": reader.cluster.bootstrap, "max.in.flight": IN_FLIGHT})
        for _ in range(3):
            producer.produce(nights[1], b"", partition=1)
        assert producer.flush(ANSWER_S) == 0
        found = gather(source, 3)
        assert [(message.partition, message.offset) for message in found] == [(1, 0), (1, 1), (1, 2)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_first_topic_of_a_pattern_is_read_from_its_beginning(reader: Reader, protocol: str) -> None:
    tonight = f"{reader.topic}_20261124_programid1"
    pattern = rf"^{reader.topic}_\d{{8}}_programid1$"
    with closing(reader.source(pattern, protocol=protocol, offset_reset="latest")) as source:
        source.connect(deadline_s=ANSWER_S)
        source.poll(1, 0.1)
        reader.cluster.create_topic(tonight)
        reader.put(7, tonight)
        assert offsets(gather(source, 7)) == list(range(7))
