# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from broker_plugin.errors import ConfigurationError, TransientError
from broker_plugin.streams.embedded import EmbeddedKafka
from broker_plugin.streams.kafka_client import KafkaAddress
from broker_plugin.streams.kafka_silence import silence_of
from broker_plugin.streams.probe import client_version, probe_cluster
from tests.support.cluster import KafkaCluster
from tests.support.process import LOOPBACK, free_ports


def make_topic(address: KafkaAddress, topic: str) -> None:
    # The embedded cluster makes a topic, of four partitions, when it is first written.
    producer = Producer({"bootstrap.servers": address.bootstrap})
    producer.produce(topic, b"x")
    assert producer.flush(10) == 0


def test_topics_and_patterns_are_counted_and_none_is_made() -> None:
    with EmbeddedKafka() as cluster:
        make_topic(cluster.address, "ztf_20260101_programid1")
        make_topic(cluster.address, "ztf_20260102_programid1")
        topics = ["ztf_20260101_programid1", "^ztf_.*_programid1$", "absent", "^absent.*"]
        probe = probe_cluster(cluster.address, topics)
        assert probe.brokers == 1
        assert probe.partitions == dict(zip(topics, [4, 8, 0, 0], strict=True))
        # Asking made nothing, however often.
        assert probe_cluster(cluster.address, ["absent"]).partitions == {"absent": 0}


def test_a_cluster_that_is_not_there_is_transient_and_soon_known() -> None:
    start_s = time.monotonic()
    with pytest.raises(TransientError, match="no Kafka broker answers"):
        probe_cluster(KafkaAddress(bootstrap=f"127.0.0.1:{free_ports(1)[0]}"), ["alerts"], timeout_s=1.0)
    assert time.monotonic() - start_s < 10  # the wait itself is 1 s; the rest is for a busy machine


def test_a_property_that_does_not_exist_is_named_without_its_value() -> None:
    address = KafkaAddress(bootstrap="127.0.0.1:9", properties={"sasl.pasword": "hunter2"})
    with pytest.raises(ConfigurationError) as refused:
        probe_cluster(address)
    assert "sasl.pasword" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_the_version_is_that_of_librdkafka() -> None:
    assert client_version()[0].isdigit()


@pytest.mark.service
def test_a_real_cluster_is_not_changed_by_a_probe(
    kafka_broker: KafkaCluster, topic: Callable[[str], str]
) -> None:
    address = KafkaAddress(bootstrap=kafka_broker.bootstrap)
    name = topic("absent")
    # This broker makes topics on demand, so the second look would see one that the first had made.
    for _ in range(2):
        assert probe_cluster(address, [name]).partitions == {name: 0}


@pytest.mark.parametrize("bootstrap", ["", "127.0.0.1:99999", "a:b:c", "127.0.0.1:9,"])
def test_what_is_no_address_is_a_mistake_in_the_settings(bootstrap: str) -> None:
    with pytest.raises(ConfigurationError, match="host:port"):
        probe_cluster(KafkaAddress(bootstrap=bootstrap), timeout_s=1.0)


def test_a_port_where_something_else_listens_is_told_apart() -> None:
    with (
        socket.create_server((LOOPBACK, 0)) as server,
        pytest.raises(TransientError, match="something listens"),
    ):
        probe_cluster(KafkaAddress(bootstrap=f"{LOOPBACK}:{server.getsockname()[1]}"), timeout_s=0.5)


def test_whoever_starts_is_told_whether_something_listens_that_wants_another_protocol() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        address = f"{LOOPBACK}:{server.getsockname()[1]}"
        assert "security.protocol" in str(silence_of(address))
    assert "security.protocol" not in str(silence_of(address))


def test_one_address_that_answers_is_enough() -> None:
    with EmbeddedKafka() as cluster:
        both = f"{LOOPBACK}:{free_ports(1)[0]},PLAINTEXT://{cluster.address.bootstrap}"
        assert probe_cluster(KafkaAddress(bootstrap=both)).brokers == 1
