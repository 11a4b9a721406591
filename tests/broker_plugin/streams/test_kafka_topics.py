# SPDX-License-Identifier: BSD-3-Clause
"""Making and finding topics where no cluster answers."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from broker_plugin.errors import ConfigurationError, TransientError
from broker_plugin.streams.kafka_admission import KafkaAddress
from broker_plugin.streams.kafka_topics import TopicPlan, create_topic, delete_topic
from tests.support.process import LOOPBACK, free_ports
from tests.support.secure_kafka import SecureKafka

HASTY = {"socket.timeout.ms": "1000"}
"""How long the library itself waits: a tenth of ours."""

REQUESTS: dict[str, Callable[[KafkaAddress], object]] = {
    "create": lambda address: create_topic(address, TopicPlan(name="v", partitions=1)),
    "delete": lambda address: delete_topic(address, "v"),
}


@pytest.mark.parametrize("ask", REQUESTS.values(), ids=REQUESTS)
def test_an_address_where_nobody_listens_is_named_with_what_to_do(
    ask: Callable[[KafkaAddress], object],
) -> None:
    address = f"{LOOPBACK}:{free_ports(1)[0]}"
    with pytest.raises(TransientError, match=rf"answers at {address} \(Connection refused\); is it up"):
        ask(KafkaAddress(bootstrap=address, properties=HASTY))


def test_who_listens_and_does_not_answer_may_want_another_protocol() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        address = f"{LOOPBACK}:{server.getsockname()[1]}"
        with pytest.raises(TransientError, match=rf"{address}, where something listens.*security\.protocol"):
            REQUESTS["create"](KafkaAddress(bootstrap=address, properties=HASTY))


@pytest.mark.service
def test_a_cluster_that_does_not_let_us_in_says_so(secure_kafka: SecureKafka) -> None:
    stranger = secure_kafka.scram("nobody", "a password")
    with pytest.raises(ConfigurationError, match="refuses us"):
        REQUESTS["create"](KafkaAddress(bootstrap=secure_kafka.bootstrap, properties=stranger | HASTY))
