# SPDX-License-Identifier: BSD-3-Clause
"""A Kafka cluster inside this process, for the demo and for tests: librdkafka's own stand-in.

It speaks the protocol on a loopback port, so the same clients work on it. It keeps about 5 MB a partition in
memory and then silently drops the oldest messages, makes topics of four partitions when they are first
written, and does not isolate transactions.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Self

from confluent_kafka import Producer

from broker_plugin.errors import TransientError
from broker_plugin.streams.kafka_client import KafkaAddress

__all__ = ["EmbeddedKafka"]

MAKES_TOPICS: Mapping[str, str] = MappingProxyType({"allow.auto.create.topics": "true"})
"""Nothing else makes a topic there: the cluster has no tool for it."""

START_S = 10.0
"""The cluster is threads of this process; it answers in milliseconds."""


class EmbeddedKafka:
    """A cluster that lives as long as this object; use it as a context manager.

    Examples
    --------
    >>> with EmbeddedKafka() as cluster:
    ...     cluster.address.bootstrap.startswith("127.0.0.1:")
    True
    """

    def __init__(self) -> None:
        self._client: Producer | None = None

    def __enter__(self) -> Self:
        settings = {"bootstrap.servers": "127.0.0.1:1", "test.mock.num.brokers": 1, "log_level": 0}
        self._client = Producer(settings, logger=logging.getLogger("librdkafka"))
        return self

    @property
    def address(self) -> KafkaAddress:
        """Where the cluster listens; who writes to a topic there makes it."""
        if self._client is None:
            raise TransientError("the embedded cluster is not running; use it in a with statement")
        brokers = self._client.list_topics(timeout=START_S).brokers.values()
        return KafkaAddress(
            bootstrap=",".join(f"{broker.host}:{broker.port}" for broker in brokers), properties=MAKES_TOPICS
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client = None
