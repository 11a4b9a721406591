# SPDX-License-Identifier: BSD-3-Clause
"""A group of the service on topics of its own, fed and warm: where every measurement through Kafka begins."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import structlog

from broker_plugin.benchmark.kafka_members import Members
from broker_plugin.benchmark.plan import Tell
from broker_plugin.errors import BrokerPluginError
from broker_plugin.streams.base import OutgoingMessage
from broker_plugin.streams.embedded import EmbeddedKafka
from broker_plugin.streams.kafka import KafkaAddress, KafkaSink
from broker_plugin.streams.kafka_topics import TopicPlan, create_topic, delete_topic

__all__ = ["EMBEDDED", "QUIET_S", "Feed", "Stream", "opened_cluster", "require_cluster", "warm_group"]

log = structlog.get_logger(__name__)

EMBEDDED = "embedded"
"""In place of an address: a cluster inside this process. It keeps a few hundred messages only: no bursts."""

TICK_S = 0.02
"""Messages of a steady rate are sent so often; a survey's come less evenly."""

CHUNK = 200
"""Messages of a burst that are sent at a time."""

QUIET_S = 30.0
"""Nothing is delivered for so long: the rest is lost."""

CONNECT_S = 5.0
"""Longest wait for a broker before anything is measured: one that is up answers in a moment."""

JOIN_S = 120.0
"""To open the bundle, join the group and do the first messages."""

PARTITIONS_EACH = 4
"""Partitions of the input, a process."""

WARM_UP = 64
"""Messages of each partition that are done before anything is measured."""

SETTLE_S = 8.0
"""Time for the group to share its partitions out: two rounds of heartbeats, which are three seconds apart. A
partition that changes hands stands still meanwhile."""

SETTLE_PER_S = 100.0
"""Messages a second meanwhile: members without any would report nothing."""

KEPT_MS = 3_600_000
"""The topics are deleted in the end; should that fail, what is on them is gone after an hour."""


class Feed:
    """Sends messages, over and over the same ones, with keys that spread them."""

    def __init__(self, sink: KafkaSink, topic: str, values: Sequence[bytes]) -> None:
        self._sink = sink
        self._messages: Iterator[OutgoingMessage] = (
            OutgoingMessage(topic=topic, value=value, key=str(number).encode())
            for number, value in enumerate(cycle(values))
        )

    def send(self, number: int) -> None:
        """Send so many as fast as the cluster takes them."""
        while number > 0:
            self._sink.send(list(islice(self._messages, min(number, CHUNK))))
            number -= CHUNK

    def steadily(self, per_s: float, seconds: float) -> int:
        """Send at a rate, and return how many were sent."""
        begun, sent = time.monotonic(), 0
        while (passed := time.monotonic() - begun) < seconds:
            due = int(passed * per_s) - sent
            if due > 0:
                self._sink.send(list(islice(self._messages, due)))
                sent += due
            time.sleep(TICK_S)
        return sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What a group of the service reads, and how it is set up.

    Parameters
    ----------
    address
        The cluster.
    values
        The messages, over and over.
    settings
        Of the service: the survey, the bundle, the device and whatever is not left at its default.
    embedded
        Whether the cluster is inside this process.
    """

    address: KafkaAddress
    values: Sequence[bytes]
    settings: Mapping[str, Any]
    embedded: bool = False


def require_cluster(bootstrap: str) -> None:
    """Refuse to go on where no broker answers: not after minutes of measuring what needs none.

    Raises
    ------
    TransientError, ConfigurationError
        If none does, or it does not let us in.
    """
    if bootstrap == EMBEDDED:
        return
    with closing(KafkaSink(KafkaAddress(bootstrap=bootstrap))) as sink:
        sink.connect([], deadline_s=CONNECT_S)


@contextmanager
def opened_cluster(bootstrap: str) -> Iterator[KafkaAddress]:
    """Give the address of a cluster, and bring up the embedded one."""
    if bootstrap != EMBEDDED:
        yield KafkaAddress(bootstrap=bootstrap)
        return
    with EmbeddedKafka() as cluster:
        yield cluster.address


@contextmanager
def warm_group(
    stream: Stream, workers: int, *, tell: Tell, cores: Sequence[int] = ()
) -> Iterator[tuple[Feed, Members]]:
    """Give a group that has done some messages and shared its partitions out, and what feeds it.

    Parameters
    ----------
    workers
        Processes of the service.
    cores
        Where each of them is to stay, in turn; by default anywhere.
    """
    partitions = PARTITIONS_EACH * workers
    with _topics(stream, partitions) as topics:
        sink = KafkaSink(stream.address, ack_timeout_s=60.0, message_max_bytes=10_000_000)
        sink.connect(list(topics.values()), deadline_s=JOIN_S)  # which makes them on the embedded cluster
        feed = Feed(sink, topics["input"], stream.values)
        own = {
            **stream.settings,
            **topics,
            "bootstrap": stream.address.bootstrap,
            "group": topics["input"],
        }
        if stream.embedded:
            # It makes a member of the classic protocol wait for three seconds.
            own["group_protocol"] = "consumer"
        with Members(own, workers, cores=cores) as members:
            tell("Kafka: joining the group")
            ahead = WARM_UP if stream.embedded else WARM_UP * partitions
            feed.send(ahead)
            members.progress(ahead, quiet_s=JOIN_S)
            if workers > 1:
                _await_all(feed, members)
                members.progress(feed.steadily(SETTLE_PER_S, SETTLE_S), quiet_s=QUIET_S)
            yield feed, members
        sink.close()


def _await_all(feed: Feed, members: Members) -> None:
    """Send until every member has had work: one that joins later takes partitions from the others."""
    end = time.monotonic() + JOIN_S
    while members.idle and time.monotonic() < end:
        members.progress(feed.steadily(SETTLE_PER_S, 1.0), quiet_s=QUIET_S)


@contextmanager
def _topics(stream: Stream, partitions: int) -> Iterator[dict[str, str]]:
    """Make topics of the group's own, deleted in the end; the embedded cluster's are made by a look."""
    run = f"astrom3-bench-{uuid.uuid4().hex[:8]}"
    names = {role: f"{run}-{role.replace('_', '-')}" for role in ("input", "output", "dead_letters")}
    if stream.embedded:
        yield names
        return
    made = []
    try:
        for name in names.values():
            config = {"retention.ms": str(KEPT_MS)}
            made.append(name)  # before: a topic whose making was not answered may be there
            create_topic(stream.address, TopicPlan(name=name, partitions=partitions, config=config))
        yield names
    finally:
        for name in made:
            try:
                delete_topic(stream.address, name)
            except BrokerPluginError as error:  # neither the other topics nor what was found is lost for it
                log.error("bench_topic_left", topic=name, why=str(error))  # noqa: TRY400 - no trace for a remark
