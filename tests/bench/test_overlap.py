# SPDX-License-Identifier: BSD-3-Clause
"""To judge a batch while the one before it is sent to a real Kafka costs nothing; what it gains is shown."""

from __future__ import annotations

import statistics
import time
import uuid
from pathlib import Path

import pytest
from rich.console import Console

from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.batcher import Batcher
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.outbox import Outbox
from broker_plugin.pipeline.runner import Runner
from broker_plugin.service.logging import configure_logging
from broker_plugin.streams.kafka_admission import KafkaAddress
from broker_plugin.streams.kafka_sink import KafkaSink
from tests.bench.repeats import Packet, Repeats, StepByStep, read_packets
from tests.support.cluster import KafkaCluster

pytestmark = [pytest.mark.bench, pytest.mark.service, pytest.mark.timeout(900)]

ALERTS = 10_000
ROUNDS = 3

LOSS_MAX = 0.9
"""Of the rate without overlap: what one round differs from the next by on a machine that is not quiet."""


def test_overlap_costs_nothing(kafka_broker: KafkaCluster, data_dir: Path) -> None:
    configure_logging(level="error")
    packets = read_packets(data_dir)
    recipe = FilterRecipe(device="cpu")
    scorer = recipe.scorer()
    scorer.warm_up()
    alert_filter = recipe.filter(scorer)
    topics = [kafka_broker.create_topic(f"{name}-{uuid.uuid4().hex[:8]}") for name in ("verdicts", "dead")]

    def rate(kind: type[Repeats], packets: list[Packet]) -> float:
        sink = KafkaSink(KafkaAddress(bootstrap=kafka_broker.bootstrap))
        outbox = Outbox(topics[0], DeadLetters(topic=topics[1]))
        source, begun = kind(packets, ALERTS), time.perf_counter()
        Runner(source, sink, alert_filter, outbox, batcher=Batcher(batch_max=256)).run()
        return ALERTS / (time.perf_counter() - begun)

    pairs = [(rate(StepByStep, packets), rate(Repeats, packets)) for _ in range(ROUNDS)]
    gain = statistics.median(overlapped / one_by_one for one_by_one, overlapped in pairs)
    shown = ", ".join(f"{one_by_one:,.0f} and {overlapped:,.0f}" for one_by_one, overlapped in pairs)
    Console().print(f"alerts/s one by one and overlapped: {shown}; gain {gain:.2f}", soft_wrap=True)
    assert gain > LOSS_MAX
