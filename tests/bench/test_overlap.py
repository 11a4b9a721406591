# SPDX-License-Identifier: BSD-3-Clause
"""To judge a batch while the one before it is on its way to a cluster far away saves the time of the way."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.batcher import Batcher
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.outbox import Outbox
from broker_plugin.pipeline.runner import Runner
from broker_plugin.service.logging import configure_logging
from broker_plugin.streams.base import OutgoingMessage
from broker_plugin.streams.memory import MemorySink
from tests.bench.repeats import Packet, Repeats, StepByStep, read_packets

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

BATCH = 256
ALERTS = 20 * BATCH
ROUNDS = 3

GAIN_MIN = 1.25
"""Of 2, what there is to gain where the way takes as long as the work. Without any overlap it is 1; beside
three times as much work as cores it was 1.39."""


class FarAway(MemorySink):
    """A cluster whose acknowledgements take a while, in which nobody here has anything to do."""

    def __init__(self, way_s: float) -> None:
        super().__init__()
        self._way_s = way_s

    def send(self, messages: Sequence[OutgoingMessage]) -> None:
        time.sleep(self._way_s)
        super().send(messages)


def test_the_way_to_a_cluster_costs_no_time_where_it_takes_no_longer_than_the_work(data_dir: Path) -> None:
    configure_logging(level="error")
    packets = read_packets(data_dir)
    recipe = FilterRecipe(device="cpu")
    scorer = recipe.scorer()
    scorer.warm_up()
    alert_filter = recipe.filter(scorer)

    def seconds(kind: type[Repeats], packets: list[Packet], way_s: float) -> float:
        outbox = Outbox("verdicts", DeadLetters(topic="dead"))
        source, begun = kind(packets, ALERTS), time.perf_counter()
        Runner(source, FarAway(way_s), alert_filter, outbox, batcher=Batcher(batch_max=BATCH)).run()
        return time.perf_counter() - begun

    work_s = statistics.median(seconds(StepByStep, packets, 0.0) for _ in range(ROUNDS)) / (ALERTS / BATCH)
    pairs = [(seconds(StepByStep, packets, work_s), seconds(Repeats, packets, work_s)) for _ in range(ROUNDS)]
    gain = statistics.median(one_by_one / overlapped for one_by_one, overlapped in pairs)
    shown = ", ".join(f"{one_by_one:.2f} and {overlapped:.2f}" for one_by_one, overlapped in pairs)
    Console().print(
        f"a batch takes {1000 * work_s:.0f} ms, and so does its way; one by one and overlapped {shown} s; "
        f"gain {gain:.2f}",
        soft_wrap=True,
    )
    assert gain > GAIN_MIN
