# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from tests.support.cluster import IN_FLIGHT
from tests.support.kafka import KafkaBroker, KafkaCluster, Outgoing
from tests.support.process import LOOPBACK, ServerFailedError, ServerUnavailableError
from tests.support.tiers import unavailable

pytestmark = pytest.mark.service

MIB = 2**20


def transactional(cluster: KafkaCluster, identity: str) -> Producer:
    settings = {"transactional.id": identity, "max.in.flight": IN_FLIGHT, "log_level": "0"}
    return Producer({"bootstrap.servers": cluster.bootstrap, **settings})


def test_records_come_back_as_they_were_written(
    kafka_broker: KafkaCluster, topic: Callable[[str], str]
) -> None:
    name = kafka_broker.create_topic(topic("alerts"), 3)
    written: list[Outgoing] = [
        (f"ztf:{i % 7}".encode(), bytes([i]), [("survey", b"ztf"), ("i", b"%d" % i)]) for i in range(60)
    ]
    written.append((None, None, []))
    kafka_broker.produce(name, written)
    found = kafka_broker.consume_all(name, expected=61)
    assert Counter((r.key, r.value, r.headers) for r in found) == Counter(
        (key, value, tuple(headers)) for key, value, headers in written
    )
    assert sum(kafka_broker.end_offsets(name).values()) == 61
    for part in kafka_broker.partitions(name):
        offsets = [record.offset for record in found if record.partition == part]
        assert offsets == list(range(len(offsets)))
    # a key's records stay on one partition, in their order
    own = [record for record in found if record.key == b"ztf:3"]
    assert len({record.partition for record in own}) == 1
    assert [record.value for record in own] == [bytes([i]) for i in range(3, 60, 7)]


def test_an_empty_topic_is_read_to_its_end(kafka_broker: KafkaCluster, topic: Callable[[str], str]) -> None:
    name = kafka_broker.create_topic(topic("alerts"), 2)
    assert kafka_broker.consume_all(name) == []
    assert kafka_broker.group_committed("nobody", name) == {}


def test_records_that_do_not_come_are_counted(
    kafka_broker: KafkaCluster, topic: Callable[[str], str]
) -> None:
    name = kafka_broker.create_topic(topic("alerts"))
    kafka_broker.produce(name, [(b"a", b"1", []), (b"b", b"2", [])])
    with pytest.raises(TimeoutError, match="2 of 3 records in 4 s"):
        kafka_broker.consume_all(name, expected=3, timeout_s=4.0)
    assert len(kafka_broker.consume_all(name, expected=1)) == 2  # a surplus is seen


def test_nothing_acknowledged_is_lost_to_sigkill(private_kafka: Callable[..., KafkaBroker]) -> None:
    broker = private_kafka()
    address = broker.bootstrap
    broker.create_topic("alerts", 3)
    broker.produce("alerts", [(b"%d" % i, os.urandom(500), []) for i in range(3000)])
    before = broker.consume_all("alerts", expected=3000)
    committed = {0: 10, 2: 7}
    assert broker.group_committed("workers", "alerts") == {}  # from now on it has a coordinator
    reader = Consumer({"bootstrap.servers": address, "group.id": "workers"})
    reader.commit(
        offsets=[TopicPartition("alerts", part, offset) for part, offset in committed.items()],
        asynchronous=False,
    )
    reader.close()

    broker.kill()
    assert not broker.serves()
    broker.restart()

    assert broker.bootstrap == address
    assert broker.group_committed("workers", "alerts") == committed
    assert Counter(broker.consume_all("alerts", expected=3000)) == Counter(before)
    broker.produce("alerts", [(b"after", b"", [])])  # by the producer that saw the broker die
    broker.stop()
    broker.start()
    assert sum(broker.end_offsets("alerts").values()) == 3001


def test_only_committed_transactions_are_read(
    kafka_broker: KafkaCluster, topic: Callable[[str], str]
) -> None:
    alerts, verdicts = (
        kafka_broker.create_topic(topic("alerts")),
        kafka_broker.create_topic(topic("verdicts")),
    )
    group = topic("group")
    kafka_broker.produce(alerts, [(b"%d" % i, b"", []) for i in range(100)])
    producer = transactional(kafka_broker, f"{group}-1")
    producer.init_transactions(30.0)
    consumer = Consumer(
        {"bootstrap.servers": kafka_broker.bootstrap, "group.id": group, "enable.auto.commit": False}
    )
    consumer.assign([TopicPartition(alerts, 0, OFFSET_BEGINNING)])

    def pass_on(count: int) -> None:
        producer.begin_transaction()
        passed = 0
        while passed < count:
            for message in consumer.consume(count - passed, 1.0):
                assert message.error() is None
                producer.produce(verdicts, key=message.key())
                passed += 1
        producer.flush(30.0)  # an abort throws away what has not been sent yet
        position = consumer.position([TopicPartition(alerts, 0)])
        producer.send_offsets_to_transaction(position, consumer.consumer_group_metadata(), 30.0)

    try:
        pass_on(50)
        producer.abort_transaction(30.0)
        assert kafka_broker.consume_all(verdicts) == []
        assert kafka_broker.group_committed(group, alerts) == {}
        consumer.seek(TopicPartition(alerts, 0, 0))
        for done in (50, 100):
            pass_on(50)
            producer.commit_transaction(30.0)
            assert kafka_broker.group_committed(group, alerts) == {0: done}
    finally:
        consumer.close()
    read = kafka_broker.consume_all(verdicts, expected=100)
    assert sorted(int(record.key or b"") for record in read) == list(range(100))
    assert len(kafka_broker.consume_all(verdicts, isolation="read_uncommitted")) == 150


def test_an_open_transaction_hides_what_follows_until_its_successor_comes(
    kafka_broker: KafkaCluster, topic: Callable[[str], str]
) -> None:
    name = kafka_broker.create_topic(topic("verdicts"))
    identity = topic("worker")
    lost = transactional(kafka_broker, identity)
    lost.init_transactions(30.0)
    lost.begin_transaction()
    lost.produce(name, key=b"lost")
    lost.flush(30.0)
    kafka_broker.produce(name, [(b"later", b"", [])])
    assert kafka_broker.consume_all(name) == []

    successor = transactional(kafka_broker, identity)
    successor.init_transactions(30.0)
    assert [record.key for record in kafka_broker.consume_all(name, expected=1)] == [b"later"]
    with pytest.raises(KafkaException) as fenced:
        lost.commit_transaction(30.0)
    assert fenced.value.args[0].code() == KafkaError._FENCED


def test_fifty_megabytes_pass_unless_the_topic_says_less(
    kafka_broker: KafkaCluster, topic: Callable[[str], str]
) -> None:
    large = os.urandom(50 * MIB)
    wide = kafka_broker.create_topic(topic("wide"), max_message_bytes=60 * MIB)
    kafka_broker.produce(wide, [(b"large", large, [])])
    (record,) = kafka_broker.consume_all(wide, expected=1)
    assert record.value == large
    narrow = kafka_broker.create_topic(topic("narrow"), max_message_bytes=1 * MIB)
    with pytest.raises(KafkaException) as refused:
        kafka_broker.produce(narrow, [(b"large", large[: 2 * MIB], [])])
    assert refused.value.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE


def test_a_broker_that_fails_shows_its_log(private_kafka: Callable[..., KafkaBroker]) -> None:
    with pytest.raises(ServerFailedError, match=r"(?s)Kafka ended while starting.*no\.such\.Authorizer"):
        private_kafka({"authorizer.class.name": "no.such.Authorizer"})


def test_a_port_that_was_taken_meanwhile_is_exchanged(tmp_path: Path) -> None:
    try:
        broker = KafkaBroker(tmp_path / "kafka")
    except ServerUnavailableError as missing:
        unavailable(str(missing))
    taken = broker.bootstrap
    with socket.socket() as other:
        other.bind((LOOPBACK, int(taken.split(":")[1])))
        other.listen()
        with broker:
            assert broker.bootstrap != taken
            assert broker.consume_all(broker.create_topic("alerts")) == []
