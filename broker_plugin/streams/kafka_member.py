# SPDX-License-Identifier: BSD-3-Clause
"""How a member of a consumer group is set up: what it fetches, and how it shares partitions."""

from __future__ import annotations

from typing import Any, Literal

__all__ = ["NO_GROUP", "RECEIVE_MAX_BYTES", "member_properties"]

NO_GROUP = "broker-plugin-reader"
"""For readers without a group: the library wants a name even where none is joined."""

RECEIVE_MAX_BYTES = 256 * 2**20
"""Largest answer of a broker. A message of any size comes whole if it is the first of its partition, so this
bounds the largest message; librdkafka's 95 MiB leave too little beside one of 60 MiB."""

FETCH_MAX_BYTES = 64 * 2**20
"""What a broker puts into one answer when messages are small."""

QUEUED_MAX_KBYTES = 64 * 2**10
"""Messages fetched ahead, in the library's memory: as much as one batch may hold."""

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
        "group.id": group,
        "group.protocol": protocol,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",  # the library would be silent; see `kafka_start`
        "isolation.level": "read_committed",
        "receive.message.max.bytes": RECEIVE_MAX_BYTES,
        "fetch.max.bytes": FETCH_MAX_BYTES,
        "queued.max.messages.kbytes": QUEUED_MAX_KBYTES,
        "topic.metadata.refresh.interval.ms": TOPICS_MS,
    }
    if protocol == "classic":
        properties["partition.assignment.strategy"] = "cooperative-sticky"
        if instance:
            properties["group.instance.id"] = instance
    return properties
