# SPDX-License-Identifier: BSD-3-Clause
"""Ask a Kafka cluster what there is, without joining a group, reading a message or making a topic."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from confluent_kafka import Consumer, KafkaException, libversion

from broker_plugin.errors import ConfigurationError, TransientError
from broker_plugin.streams.kafka_admission import Admission
from broker_plugin.streams.kafka_client import KafkaAddress, make_client, sort_error
from broker_plugin.streams.topic_pattern import matching

__all__ = ["ClusterProbe", "client_version", "probe_cluster"]

KAFKA_PORT = 9092
"""Kafka's port where an address names none."""

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
        _reach(address.bootstrap, timeout_s)
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


def _reach(bootstrap: str, timeout_s: float) -> None:
    """Connect to one of the addresses: where nothing listens, librdkafka waits and does not say why."""
    refusals: list[str] = []
    for address in bootstrap.split(","):
        try:
            socket.create_connection(_host_and_port(address.strip()), timeout_s).close()
        except OSError as error:
            refusals.append(f"{address} ({error.strerror or error})")
        else:
            return
    raise TransientError(f"no Kafka broker answers at {', '.join(refusals)}")


def _host_and_port(address: str) -> tuple[str, int]:
    try:
        # librdkafka takes `protocol://host:port`, of which the host alone is needed.
        parts = urlsplit("//" + address.rpartition("://")[2])
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise ConfigurationError(f"{address!r} is no address of a Kafka broker", remedy="give host:port")
    return host, port or KAFKA_PORT


def _is_meant(topic: str, name: str) -> bool:
    return bool(matching([topic], [name]))
