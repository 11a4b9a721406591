# SPDX-License-Identifier: BSD-3-Clause
"""Through Kafka, from a message's own time to its verdict's acknowledgement: steadily and in a burst."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np
import structlog

from broker_plugin.benchmark.kafka_members import Members, Progress
from broker_plugin.benchmark.plan import Tell
from broker_plugin.errors import BrokerPluginError
from broker_plugin.streams.base import OutgoingMessage
from broker_plugin.streams.embedded import EmbeddedKafka
from broker_plugin.streams.kafka import KafkaAddress, KafkaSink
from broker_plugin.streams.kafka_topics import TopicPlan, create_topic, delete_topic

__all__ = ["EMBEDDED", "PERCENTILES", "KafkaPlan", "measure_kafka"]

log = structlog.get_logger(__name__)

EMBEDDED = "embedded"
"""In place of an address: a cluster inside this process. It keeps a few hundred messages only: no bursts."""

TICK_S = 0.02
"""Messages of a steady rate are sent so often; a survey's come less evenly."""

CHUNK = 200
"""Messages of a burst that are sent at a time."""

QUIET_S = 30.0
"""Nothing is delivered for so long: the rest is lost."""

JOIN_S = 120.0
"""To open the bundle, join the group and do the first messages."""

PARTITIONS_EACH = 4
"""Partitions of the input, a process."""

WARM_UP = 64
"""Messages of each partition that are done before anything is measured."""

SETTLE_S = 8.0
"""Time for the group to share its partitions out: two rounds of heartbeats, which are three seconds apart. A
partition that changes hands stands still meanwhile."""

PERCENTILES = (50, 90, 99)

KEPT_MS = 3_600_000
"""The topics are deleted in the end; should that fail, what is on them is gone after an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaPlan:
    """What is sent through Kafka.

    Parameters
    ----------
    bootstrap
        host:port, or `EMBEDDED`.
    offered_per_s, offered_s
        The steady rate, and for how long.
    burst
        Messages sent at once.
    """

    bootstrap: str
    offered_per_s: float
    offered_s: float
    burst: int


def measure_kafka(
    plan: KafkaPlan,
    values: Sequence[bytes],
    settings: Mapping[str, Any],
    *,
    workers: int,
    tell: Tell,
) -> dict[str, Any]:
    """Return latencies at a steady rate, and how fast a burst is done.

    Parameters
    ----------
    plan
        What is sent.
    values
        The messages, over and over.
    settings
        Of the service: the survey, the bundle, the device and whatever is not left at its default.
    workers
        Processes of the service.
    tell
        Hears what is measured next.

    Raises
    ------
    BrokerPluginError
        If the cluster or the service cannot go on.
    """
    tell("Kafka: topics")
    with _cluster(plan.bootstrap) as address, _topics(address, plan, workers) as topics:
        sink = KafkaSink(address, ack_timeout_s=60.0, message_max_bytes=10_000_000)
        feed = _Feed(sink, topics["input"], values)
        own = {**settings, **topics, "bootstrap": address.bootstrap, "group": topics["input"]}
        if plan.bootstrap == EMBEDDED:
            own["group_protocol"] = (
                "consumer"  # it makes a member of the classic protocol wait for three seconds
            )
        with Members(own, workers) as members:
            tell("Kafka: joining the group")
            ahead = WARM_UP * PARTITIONS_EACH * workers if plan.bootstrap != EMBEDDED else WARM_UP
            feed.send(ahead)
            members.progress(ahead, quiet_s=JOIN_S)
            if workers > 1:
                members.progress(feed.steadily(plan.offered_per_s, SETTLE_S), quiet_s=QUIET_S)
            tell(f"Kafka: {plan.offered_per_s:g} alerts/s")
            sent = feed.steadily(plan.offered_per_s, plan.offered_s)
            steady = _steady(plan, sent, members.progress(sent, quiet_s=QUIET_S))
            found: dict[str, Any] = {"cluster": plan.bootstrap, "workers": workers, "steady": steady}
            if plan.burst and plan.bootstrap != EMBEDDED:
                tell(f"Kafka: a burst of {plan.burst:,}")
                begun = time.time()
                feed.send(plan.burst)
                produced_s = time.time() - begun
                found["burst"] = _burst(plan, produced_s, members.progress(plan.burst, quiet_s=QUIET_S))
        sink.close()
    return found


class _Feed:
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


def _steady(plan: KafkaPlan, sent: int, progress: Progress) -> dict[str, Any]:
    latency_ms = 1000 * (progress.delivered_s - progress.message_s)
    latencies = {
        f"p{percent}_ms": round(float(np.percentile(latency_ms, percent)), 1) if len(latency_ms) else None
        for percent in PERCENTILES
    }
    return {
        "offered_per_s": plan.offered_per_s,
        "sent": sent,
        "sent_per_s": round(sent / plan.offered_s, 1),
        "delivered": len(latency_ms),
        **latencies,
    }


def _burst(plan: KafkaPlan, produced_s: float, progress: Progress) -> dict[str, Any]:
    done = len(progress.message_s)
    drained_s = float(progress.delivered_s.max() - progress.message_s.min()) if done else None
    return {
        "messages": plan.burst,
        "delivered": done,
        "produced_in_s": round(produced_s, 2),
        "drained_in_s": None if drained_s is None else round(drained_s, 2),
        "alerts_per_s": None if drained_s is None else round(done / drained_s, 1),
        "alerts_per_cpu_s": round(done / progress.cpu_s, 1) if progress.cpu_s > 0 else None,
    }


@contextmanager
def _cluster(bootstrap: str) -> Iterator[KafkaAddress]:
    if bootstrap != EMBEDDED:
        yield KafkaAddress(bootstrap=bootstrap)
        return
    with EmbeddedKafka() as cluster:
        yield cluster.address


@contextmanager
def _topics(address: KafkaAddress, plan: KafkaPlan, workers: int) -> Iterator[dict[str, str]]:
    """Make topics of the run's own and delete them in the end; the embedded cluster makes them by itself."""
    run = f"astrom3-bench-{uuid.uuid4().hex[:8]}"
    names = {role: f"{run}-{role.replace('_', '-')}" for role in ("input", "output", "dead_letters")}
    if plan.bootstrap == EMBEDDED:
        yield names
        return
    made = []
    try:
        for name in names.values():
            config = {"retention.ms": str(KEPT_MS)}
            create_topic(address, TopicPlan(name=name, partitions=PARTITIONS_EACH * workers, config=config))
            made.append(name)
        yield names
    finally:
        for name in made:
            try:
                delete_topic(address, name)
            except BrokerPluginError as error:  # neither the other topics nor what was found is lost for it
                log.error("bench_topic_left", topic=name, why=str(error))  # noqa: TRY400 - no trace for a remark
