# SPDX-License-Identifier: BSD-3-Clause
"""How the rate grows with the processes of a group, each held to one core, and what the broker takes of them.

A backlog is sent while the processes are held, so that nobody sends while they work: what is left on the
machine is the service and, if it is here too, the broker. The processor time of an alert tells whether
processes are in each other's way; the rate grows with them for as long as there are cores.
"""

from __future__ import annotations

import os
import time
from typing import Any

from broker_plugin.benchmark.kafka_group import QUIET_S, Stream, warm_group
from broker_plugin.benchmark.listener import Listener
from broker_plugin.benchmark.plan import Tell

__all__ = ["measure_scaling"]


def measure_scaling(stream: Stream, burst: int, *, workers: int, tell: Tell) -> list[dict[str, Any]]:
    """Return for 1, 2, ... processes how fast they work a backlog off, their share of a burst each.

    Returns
    -------
    points
        By number of processes: `alerts_per_s` on the wall; `speed_up` over one process; microseconds of
        processor time an alert, of the service and of the broker (None where it is not on this machine); and
        `cores` that both kept busy.
    """
    listener = Listener.of(stream.address.bootstrap)
    points: list[dict[str, Any]] = []
    for count in range(1, workers + 1):
        tell(f"Kafka: {count} of {workers} processes")
        points.append(_measured(stream, count, burst * count // workers, listener, tell))
        first = points[0]["alerts_per_s"]
        points[-1]["speed_up"] = round(points[-1]["alerts_per_s"] / first, 2) if first else None
    return points


def _measured(
    stream: Stream, workers: int, messages: int, listener: Listener | None, tell: Tell
) -> dict[str, Any]:
    cores = sorted(os.sched_getaffinity(0))
    with warm_group(stream, workers, tell=tell, cores=cores) as (feed, members):
        with members.held():
            feed.send(messages)
        begun, broker_s = time.time(), listener.cpu_s() if listener else None
        progress = members.progress(messages, quiet_s=QUIET_S)
        done = len(progress.message_s)
        took_s = float(progress.delivered_s.max()) - begun if done else None
        if listener is not None and broker_s is not None:
            broker_s = listener.cpu_s() - broker_s
    spent_s = [progress.cpu_s, *([] if broker_s is None else [broker_s])]
    return {
        "workers": workers,
        "messages": messages,
        "delivered": done,
        "alerts_per_s": round(done / took_s, 1) if took_s else 0.0,
        "service_us_per_alert": round(1e6 * progress.cpu_s / done, 1) if done else None,
        "broker_us_per_alert": None if broker_s is None or not done else round(1e6 * broker_s / done, 1),
        "cores": round(sum(spent_s) / took_s, 2) if took_s else None,
    }
