# SPDX-License-Identifier: BSD-3-Clause
"""Kafka, as a source and as a sink."""

from __future__ import annotations

from broker_plugin.streams.kafka_client import KafkaAddress
from broker_plugin.streams.kafka_sink import KafkaSink
from broker_plugin.streams.kafka_snapshot import KafkaSnapshot
from broker_plugin.streams.kafka_source import KafkaSource
from broker_plugin.streams.kafka_start import StartPolicy
from broker_plugin.streams.kafka_tail import KafkaTail
from broker_plugin.streams.kafka_transaction import TransactionalKafkaSink, UncertainCommit

__all__ = [
    "KafkaAddress",
    "KafkaSink",
    "KafkaSnapshot",
    "KafkaSource",
    "KafkaTail",
    "StartPolicy",
    "TransactionalKafkaSink",
    "UncertainCommit",
]
