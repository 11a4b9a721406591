# SPDX-License-Identifier: BSD-3-Clause
"""A change of the survey's schema, or a flood of rejections, holds the service on a real Kafka."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pytest

from tests.e2e.conftest import StartRun
from tests.e2e.service import (
    Topics,
    as_records,
    dead_letter_headers,
    events,
    stop_in_order,
    verdict_of,
    wait_for_event,
    wait_for_outputs,
    ztf_packets,
)
from tests.support.cluster import KafkaCluster
from tests.support.process import free_ports

pytestmark = pytest.mark.service


def rewritten(value: bytes, *, without: str) -> bytes:
    """Return a ZTF packet in a schema whose candidate and history lack a field."""
    reader = fastavro.reader(io.BytesIO(value))
    (packet,) = reader
    schema = json.loads(json.dumps(reader.writer_schema))

    def cut(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("fields"), list):
                node["fields"] = [field for field in node["fields"] if field["name"] != without]
            for inner in node.values():
                cut(inner)
        elif isinstance(node, list):
            for inner in node:
                cut(inner)

    cut(schema)
    buffer = io.BytesIO()
    fastavro.writer(buffer, schema, [packet])
    return buffer.getvalue()


def page(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5.0) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_lost_field_pauses_or_is_flagged_by_what_it_is_for(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], data_dir: Path, run: StartRun
) -> None:
    topics = Topics(kafka_broker, topic)
    good = ztf_packets(data_dir)[:10]
    flagged = [rewritten(packet, without="sgscore1") for packet in good]
    kafka_broker.produce(topics.input, as_records([*good, *flagged]))
    (port,) = free_ports(1)
    watched = [*topics.flags, "--metrics-port", str(port)]
    process = run(watched)
    wait_for_outputs(topics, 20, process)
    flags = [verdict_of(record).quality_flags for record in topics.verdicts(20)]
    assert sum("degraded_schema" in given for given in flags) == 10
    process.wait_ready(lambda: page(port, "readyz")[0] == 200, timeout_s=30.0)
    # A required one: all of these would be dead letters.
    kafka_broker.produce(topics.input, as_records([rewritten(p, without="magpsf") for p in good]))
    wait_for_event(process, "stream_paused")
    status, why = page(port, "readyz")
    assert status == 503
    assert "no longer has candidate.magpsf" in why
    assert "--accept-rejects missing_field" in why
    assert page(port, "healthz")[0] == 200
    metrics = page(port, "metrics")[1]
    assert 'broker_plugin_paused{reason="schema"} 1.0' in metrics
    assert 'broker_plugin_paused{reason="rejects"} 0.0' in metrics
    assert stop_in_order(process) == 0
    before = topics.outputs()
    assert topics.committed() == before  # nothing of the batch was committed that was not sent
    process = run([*topics.flags, "--accept-rejects", "missing_field"], name="accepting")
    wait_for_outputs(topics, 30, process)
    assert stop_in_order(process) == 0
    assert topics.committed() == 30
    assert len(topics.verdicts(20)) == 20
    letters = [dead_letter_headers(record) for record in topics.letters(10)]
    assert {letter["reason"] for letter in letters} == {"missing_field"}


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_flood_of_one_rejection_pauses_until_it_is_accepted(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], data_dir: Path, run: StartRun, delivery: str
) -> None:
    topics = Topics(kafka_broker, topic, partitions=1)
    junk = [b"junk %d" % number for number in range(60)]
    kafka_broker.produce(topics.input, as_records([*ztf_packets(data_dir)[:20], *junk]))
    # Batches by number and not by age, whatever the fetches bring: the first one is sixteen good packets.
    batches = ["--batch-max", "16", "--batch-age-s", "10"]
    flags = [*topics.flags, "--delivery", delivery, "--reject-window", "1000", *batches]
    process = run(flags)
    wait_for_event(process, "stream_paused")
    (pause,) = [found for found in events(process) if found["event"] == "stream_paused"]
    assert "11 of the last 1000 messages were rejected as undecodable" in pause["why"]
    assert f"{topics.input} [0] at offset 20: the message is neither an Avro container" in pause["why"]
    assert stop_in_order(process) == 0
    assert topics.committed() == 16
    assert len(topics.letters(0)) == 0
    process = run([*flags, "--accept-rejects", "undecodable"], name="accepting")
    wait_for_outputs(topics, 80, process)
    assert stop_in_order(process) == 0
    assert topics.committed() == 80
    assert len(topics.letters(60)) == 60
    assert len(topics.verdicts(20)) == 20
