# SPDX-License-Identifier: BSD-3-Clause
"""A reader of committed records behind the service, that notes what it saw and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from tests.support.cluster import KafkaCluster
from tests.support.process import wait_until

__all__ = ["Sighting", "Tail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A record as a subscriber sees it.

    Parameters
    ----------
    seen_s
        When, by the monotonic clock.
    created_ms
        When the service handed it to its producer, by the clock of the day.
    source
        Partition and offset of the input message that it came from.
    identity
        The `verdict_id`, or the key of a dead letter.
    """

    seen_s: float
    created_ms: int
    topic: str
    source: tuple[int, int]
    identity: bytes


class Tail:
    """Reads topics from their beginning, in a thread, until it is closed.

    Parameters
    ----------
    cluster
        Where they are.
    topics
        Their names.
    """

    def __init__(self, cluster: KafkaCluster, topics: Iterable[str]) -> None:
        self.sightings: list[Sighting] = []
        self._stop = threading.Event()
        settings: dict[str, Any] = {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": "the-drill",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20,
            "reconnect.backoff.max.ms": 1000,
            "log_level": 0,
        }
        self._consumer = Consumer(settings)
        places = [TopicPartition(topic, part, 0) for topic in topics for part in cluster.partitions(topic)]
        self._unread = {(place.topic, place.partition) for place in places}
        self._consumer.assign(places)
        self._thread = threading.Thread(target=self._read, name="tail", daemon=True)
        self._thread.start()

    def seen_after(self, created_ms: int, partitions: Iterable[int], *, since: int = 0) -> float | None:
        """Return when the first record was seen that was made after a moment from one of these partitions.

        Parameters
        ----------
        created_ms
            The moment, by the clock of the day.
        partitions
            Of the input.
        since
            How many sightings there were before; none of those is looked at.
        """
        wanted = set(partitions)
        for sighting in self.sightings[since:]:
            if sighting.created_ms > created_ms and sighting.source[0] in wanted:
                return sighting.seen_s
        return None

    def wait_to_the_end(self, *, timeout_s: float) -> None:
        """Wait until the present end of every partition has been reached once."""
        wait_until(lambda: not self._unread, what="the end of the topics", timeout_s=timeout_s)

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def _read(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.2)
            if message is None:
                continue
            error = message.error()
            if error is None:
                self.sightings.append(_sighting(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                self._unread.discard((message.topic() or "", message.partition() or 0))
            # Other errors pass: a broker that is away comes back.


def _sighting(message: Message) -> Sighting:
    headers = dict(cast("list[tuple[str, bytes]]", message.headers() or []))
    prefix = "source" if "source_offset" in headers else "dead_letter"
    return Sighting(
        seen_s=time.monotonic(),
        created_ms=message.timestamp()[1],
        topic=message.topic() or "",
        source=(int(headers[f"{prefix}_partition"]), int(headers[f"{prefix}_offset"])),
        identity=headers.get("verdict_id") or message.key() or b"",
    )
