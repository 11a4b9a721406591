# SPDX-License-Identifier: BSD-3-Clause
"""A batch that takes long costs time and nothing else: no membership, no life, no stop in time, no alert."""

from __future__ import annotations

import copy
import io
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import fastavro
import pytest
from structlog.testing import capture_logs

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.engine.scorer import Scorer
from broker_plugin.pipeline.batcher import Batcher
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.delivery import AtLeastOnce, Delivery
from broker_plugin.pipeline.exactly_once import ExactlyOnce
from broker_plugin.pipeline.filter import AlertFilter
from broker_plugin.pipeline.monitor import BatchOutcome
from broker_plugin.pipeline.outbox import Outbox
from broker_plugin.pipeline.runner import Runner
from broker_plugin.records import AlertBatch
from broker_plugin.service.health import Health
from broker_plugin.streams.kafka import KafkaAddress, KafkaSink, KafkaSource, TransactionalKafkaSink
from broker_plugin.surveys.registry import adapters
from tests.e2e.conftest import StartRun
from tests.e2e.service import (
    Topics,
    all_places,
    as_records,
    events,
    source_places,
    wait_for_outputs,
    ztf_packets,
)
from tests.support.cluster import KafkaCluster

pytestmark = pytest.mark.service

SILENCE_S = 6.0
"""The shortest that a broker lets a session be, and so the shortest silence that is ever punished."""

LONG_S = 9.0

N_ROWS, N_HEAVY = 2000, 100
"""Such an alert takes some 0.1 s, and these some 10 s together."""

STOP_S, LEAVE_S = 1.0, 30.0
"""Time to stop, and that in which a process then ends: it leaves its group, and Python takes itself down."""

TRANSIENT = 75


class SlowScorer:
    """Takes long over the first batch, and tells whether the loop was alive all the time."""

    def __init__(self, scorer: Scorer, health: Health) -> None:
        self._scorer = scorer
        self._health = health
        self.lives: list[bool] = []

    def score(
        self, alerts: AlertBatch, *, tense: Tense = Tense.CURRENT, received_at: datetime | None = None
    ) -> list[Verdict]:
        end = time.monotonic() + (0.0 if self.lives else LONG_S)
        while time.monotonic() < end:
            time.sleep(0.1)
            self.lives.append(self._health.is_alive())
        return self._scorer.score(alerts, tense=tense, received_at=received_at)


class Enough:
    """Stops a run when so many messages are done."""

    def __init__(self, number: int) -> None:
        self.event = threading.Event()
        self._left = number

    def count(self, outcome: BatchOutcome) -> None:
        self._left -= len(outcome.judgements)
        if self._left <= 0:
            self.event.set()


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_batch_may_take_longer_than_a_member_may_be_silent(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], data_dir: Path, delivery: str
) -> None:
    topics = Topics(kafka_broker, topic, partitions=1)
    packets = ztf_packets(data_dir)[:40]
    kafka_broker.produce(topics.input, as_records(packets))
    silence = {name: str(int(SILENCE_S * 1000)) for name in ("max.poll.interval.ms", "session.timeout.ms")}
    address = KafkaAddress(bootstrap=kafka_broker.bootstrap, properties=silence)
    source = KafkaSource(address, [topics.input], group=topics.group, instance="me")
    sink, how = _delivery(delivery, source, topics)
    health = Health(alive_s=3.0)
    health.warmed_up()
    scorer = SlowScorer(Scorer.open("default", device="cpu"), health)
    enough = Enough(len(packets))
    runner = Runner(
        source,
        sink,
        AlertFilter(Decoder(schemas=SchemaStore(), adapters=adapters(["ztf"])), scorer),
        Outbox(topics.output, DeadLetters(topic=topics.dead_letters)),
        delivery=how,
        batcher=Batcher(batch_max=10, batch_age_s=0.1),
        stop=enough.event,
        monitor=health,
        on_batch=enough.count,
    )
    with capture_logs() as logged:
        source.connect(deadline_s=30.0)
        runner.run()
    assert all(scorer.lives)
    assert len(scorer.lives) > LONG_S / 0.2
    assert not {"partitions_lost", "stage_failed", "messages_given_up"} & {each["event"] for each in logged}
    assert topics.committed() == len(packets)
    places = source_places(topics.verdicts(len(packets)))
    assert set(places) == all_places(topics)
    assert set(places.values()) == {1}


@pytest.mark.parametrize(
    ("delivery", "workers"), [("at-least-once", 1), ("exactly-once", 1), ("at-least-once", 2)]
)
def test_a_stop_does_not_wait_longer_for_a_batch_than_its_deadline(
    kafka_broker: KafkaCluster,
    topic: Callable[[str], str],
    data_dir: Path,
    run: StartRun,
    delivery: str,
    workers: int,
) -> None:
    topics = Topics(kafka_broker, topic, partitions=1)
    light = as_records(ztf_packets(data_dir)[:5])
    kafka_broker.produce(topics.input, light)
    flags = [*topics.flags, "--delivery", delivery, "--batch-max", str(N_HEAVY), "--instance", "one"]
    flags += ["--workers", str(workers)]  # of the second run too: its members have the names of the first
    process = run([*flags, "--stop-deadline-s", str(STOP_S)], name="first")
    wait_for_outputs(topics, len(light), process)
    process.wait_ready(lambda: topics.committed() == len(light), timeout_s=30.0)
    kafka_broker.produce(topics.input, as_records([heavy_packet(data_dir)] * N_HEAVY))
    time.sleep(2.0)  # it is polled and being judged by then
    running, begun = process._process, time.monotonic()
    assert running is not None
    running.terminate()
    assert running.wait(LEAVE_S) == TRANSIENT
    assert time.monotonic() - begun < LEAVE_S
    process.kill()
    (abandoned,) = [event for event in events(process) if event["event"] == "batch_abandoned"]
    assert abandoned["messages"] > 0
    said = process.log_path.read_text()
    assert "is given up uncommitted; it comes again" in said
    assert "Traceback" not in said
    committed = topics.committed()
    assert committed < len(light) + N_HEAVY
    second = run(flags, name="second")
    second.wait_ready(lambda: topics.committed() == len(light) + N_HEAVY, timeout_s=120.0)
    places = source_places(topics.verdicts(len(light) + N_HEAVY))
    assert set(places) == all_places(topics)
    assert set(places.values()) == {1}  # what was given up had not been sent


def _delivery(name: str, source: KafkaSource, topics: Topics) -> tuple[KafkaSink, Delivery]:
    address = KafkaAddress(bootstrap=topics.cluster.bootstrap)
    if name == "exactly-once":
        sink = TransactionalKafkaSink(address, transactional_id=topics.group)
        return sink, ExactlyOnce(source, sink)
    plain = KafkaSink(address)
    return plain, AtLeastOnce(source, plain)


def heavy_packet(data_dir: Path) -> bytes:
    """Return a ZTF alert with a forced history far longer than any night has brought."""
    with (data_dir / "alerts/ztf/nocutouts.avro").open("rb") as file:
        reader = fastavro.reader(file)
        schema = reader.writer_schema
        packets = (dict(packet) for packet in reader if isinstance(packet, dict))
        packet: dict[str, Any] = next(p for p in packets if p.get("fp_hists") and p.get("prv_candidates"))
    row, jd = packet["fp_hists"][0], packet["candidate"]["jd"]
    packet["fp_hists"] = [
        {
            **copy.deepcopy(row),
            "jd": jd - (n + 1) * 2900.0 / N_ROWS,
            "fid": 1 + n % 3,
            "field": n,
            "forcediffimflux": 100.0 + 50 * (n % 7),
            "forcediffimfluxunc": 5.0,
            "magzpsci": 26.0,
            "procstatus": "0",
            "programid": 1,
        }
        for n in range(N_ROWS)
    ]
    buffer = io.BytesIO()
    fastavro.writer(buffer, schema, [packet], codec="deflate")
    return buffer.getvalue()
