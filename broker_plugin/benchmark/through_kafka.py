# SPDX-License-Identifier: BSD-3-Clause
"""Through Kafka, from a message's own time to its verdict's acknowledgement: steadily and in a burst."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from broker_plugin.benchmark.kafka_group import EMBEDDED, QUIET_S, Stream, opened_cluster, warm_group
from broker_plugin.benchmark.kafka_members import Progress
from broker_plugin.benchmark.kafka_scaling import measure_scaling
from broker_plugin.benchmark.plan import Tell

__all__ = ["PERCENTILES", "KafkaPlan", "measure_kafka"]

PERCENTILES = (50, 90, 99)


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
    """Return latencies at a steady rate, how fast a burst is done, and how that grows with the processes.

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
    embedded = plan.bootstrap == EMBEDDED
    with opened_cluster(plan.bootstrap) as address:
        stream = Stream(address=address, values=values, settings=settings, embedded=embedded)
        with warm_group(stream, workers, tell=tell) as (feed, members):
            tell(f"Kafka: {plan.offered_per_s:g} alerts/s")
            sent = feed.steadily(plan.offered_per_s, plan.offered_s)
            steady = _steady(plan, sent, members.progress(sent, quiet_s=QUIET_S))
            found: dict[str, Any] = {"cluster": plan.bootstrap, "workers": workers, "steady": steady}
            if plan.burst and not embedded:
                tell(f"Kafka: a burst of {plan.burst:,}")
                begun = time.time()
                feed.send(plan.burst)
                produced_s = time.time() - begun
                found["burst"] = _burst(plan, produced_s, members.progress(plan.burst, quiet_s=QUIET_S))
        if plan.burst and not embedded:
            found["scaling"] = measure_scaling(stream, plan.burst, workers=workers, tell=tell)
    return found


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
