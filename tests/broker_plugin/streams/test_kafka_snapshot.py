# SPDX-License-Identifier: BSD-3-Clause
"""A topic as it is now, on a real broker: what lies behind a moment, whatever messages say of their time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer

from broker_plugin.instants import milliseconds
from broker_plugin.streams.kafka import KafkaAddress
from broker_plugin.streams.kafka_snapshot import KafkaSnapshot
from tests.support.cluster import KafkaCluster

pytestmark = pytest.mark.service

EVENING = datetime(2026, 1, 1, tzinfo=UTC)
FUTURE = datetime(2062, 1, 1, tzinfo=UTC)

ANY_TIME = {"message.timestamp.after.max.ms": str(2**63 - 1)}
"""As before Kafka 4, which refuses what is an hour ahead unless it is told otherwise."""


@pytest.mark.parametrize("false_at", [(), (0,), (2,), (5, 6), (9,), (19,), tuple(range(20))])
def test_a_message_from_the_future_hides_no_moment(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], false_at: tuple[int, ...]
) -> None:
    name = kafka_broker.create_topic(topic("dated"), 1, config=ANY_TIME)
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap})
    for n in range(20):
        when = FUTURE if n in false_at else EVENING + timedelta(hours=n)
        producer.produce(name, b"message", timestamp=milliseconds(when))
    producer.flush(30.0)
    with KafkaSnapshot(KafkaAddress(bootstrap=kafka_broker.bootstrap), name) as snapshot:
        for n in range(21):
            since = EVENING + timedelta(hours=n) - timedelta(minutes=1)
            begin, end = snapshot.span(since_ms=milliseconds(since))[0]
            honest = [k for k in range(n, 20) if k not in false_at]
            assert end == 20
            # Those that lie at the edge itself may fall to either side of it.
            assert begin <= (honest[0] if honest else 20)
            assert all(k in false_at for k in range(min(n, begin), max(n, begin)))
