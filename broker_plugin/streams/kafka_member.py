# SPDX-License-Identifier: BSD-3-Clause
"""How a member of a consumer group is set up: what it fetches, and how it shares partitions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

__all__ = ["MAX_POLL_INTERVAL", "NO_GROUP", "READING", "SILENCE_MS", "member_properties"]

NO_GROUP = "broker-plugin-reader"
"""For readers without a group: the library wants a name even where none is joined."""

READING: Mapping[str, int] = MappingProxyType(
    {
        "receive.message.max.bytes": 256 * 2**20,
        "fetch.queue.backoff.ms": 10,
    }
)
"""What every reader has. The first is the largest answer of a broker: a message of any size comes whole if it
is the first of its partition, so this bounds the largest message; librdkafka's 95 MiB leave too little beside
one of 60 MiB. The second is the time until a partition is fetched again whose messages had no more room: with
the library's second a backlog is read in steps, 64 MB that are judged in half a second and then nothing for
as long."""

FETCH_MAX_BYTES = 64 * 2**20
"""What a broker puts into one answer when messages are small."""

QUEUED_MAX_KBYTES = 64 * 2**10
"""Messages fetched ahead, in the library's memory: as much as one batch may hold."""

HEARTBEAT_MS = 1_000
"""Time between two signs of life of a member, by which it also learns that others come or go: each step of
sharing partitions out anew waits for that of the slowest, and with the library's three seconds so long."""

MAX_POLL_INTERVAL = "max.poll.interval.ms"
"""The property that says how long a member may be silent."""

SILENCE_MS = 300_000
"""Silence of the loop after which the library leaves the group for it, and the batch under way is given to
another: the library's own choice. The loop polls several times a second while a batch is judged; only while
one is sent it may be silent, some ten seconds an attempt where the output's brokers do not answer."""

TOPICS_MS = 10_000
"""Time between two looks for topics that a pattern matches. A nightly topic is made at midnight UTC, and with
the library's five minutes its first alerts would wait for as long."""


def member_properties(
    group: str, *, instance: str | None, protocol: Literal["classic", "consumer"]
) -> dict[str, Any]:
    """Return the properties of a member that commits by hand and is told where its offset is not in the log.

    Parameters
    ----------
    group
        The group.
    instance
        Stable name of the member, which only the classic protocol has here.
    protocol
        `classic`, or `consumer` (KIP-848).
    """
    properties: dict[str, Any] = {
        **READING,
        "group.id": group,
        "group.protocol": protocol,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",  # the library would be silent; see `kafka_start`
        "isolation.level": "read_committed",
        "fetch.max.bytes": FETCH_MAX_BYTES,
        "queued.max.messages.kbytes": QUEUED_MAX_KBYTES,
        "topic.metadata.refresh.interval.ms": TOPICS_MS,
        MAX_POLL_INTERVAL: SILENCE_MS,
    }
    if protocol == "classic":
        properties["heartbeat.interval.ms"] = HEARTBEAT_MS
        properties["partition.assignment.strategy"] = "cooperative-sticky"
        if instance:
            properties["group.instance.id"] = instance
    return properties
