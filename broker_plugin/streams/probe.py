# SPDX-License-Identifier: BSD-3-Clause
"""Ask a Kafka cluster what there is, without joining a group, reading a message or making a topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, libversion

from broker_plugin.streams.kafka_admission import Admission
from broker_plugin.streams.kafka_client import KafkaAddress, make_client, sort_error
from broker_plugin.streams.kafka_silence import require_listener
from broker_plugin.streams.topic_pattern import matching

__all__ = ["ClusterProbe", "client_version", "probe_cluster"]

GROUP = "astrom3-doctor"
"""A consumer must name a group. It never subscribes, so the cluster does not learn of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterProbe:
    """What a cluster said.

    Parameters
    ----------
    cluster_id
        What the brokers call their cluster.
    brokers
        How many brokers there are.
    partitions
        How many partitions lie behind each topic or pattern that was asked about, 0 if there is none.
    """

    cluster_id: str
    brokers: int
    partitions: dict[str, int]


def probe_cluster(
    address: KafkaAddress, topics: Sequence[str] = (), *, timeout_s: float = 5.0
) -> ClusterProbe:
    """Ask a cluster for its brokers, and for topics or patterns of topics (beginning with `^`).

    Raises
    ------
    TransientError
        If no broker answers in time.
    ConfigurationError
        If a property does not fit, or the cluster does not let us in.
    """
    admission = Admission(address)
    properties = {"group.id": GROUP, "allow.auto.create.topics": False}
    client = make_client(Consumer, address, properties, admission=admission)
    try:
        # Where nothing listens, the library waits and does not say why.
        require_listener(address.bootstrap, timeout_s=timeout_s)
        # All topics at once: to ask for one by name would make it, where a cluster makes them on demand.
        metadata = client.list_topics(timeout=timeout_s)
    except KafkaException as error:
        client.poll(0)  # where the library tells that we are not let in
        admission.check(client, patience_s=0.0)
        raise sort_error(error.args[0], f"asking {address.bootstrap}, where something listens") from error
    finally:
        client.close()
    found = {name: len(topic.partitions) for name, topic in metadata.topics.items() if topic.error is None}
    return ClusterProbe(
        cluster_id=str(metadata.cluster_id),
        brokers=len(metadata.brokers),
        partitions={
            topic: sum(count for name, count in found.items() if _is_meant(topic, name)) for topic in topics
        },
    )


def client_version() -> str:
    """Return the version of librdkafka, which decides what of Kafka works."""
    return str(libversion()[0])


def _is_meant(topic: str, name: str) -> bool:
    return bool(matching([topic], [name]))
