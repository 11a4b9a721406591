# SPDX-License-Identifier: BSD-3-Clause
"""The operator's guide is typed as it stands, in its order, against a real Kafka."""

from __future__ import annotations

import json
import re
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker_plugin.nights import night_of
from tests.e2e.service import broker_plugin_command, stop_in_order
from tests.support.artefacts import REPOSITORY, java, kafka_tools_classpath
from tests.support.cluster import KafkaCluster
from tests.support.guides import Reader, blocks
from tests.support.process import LOOPBACK, ServerProcess, free_ports

GUIDE = REPOSITORY / "deploy/docs/operating.md"

INSTALLS = "deploy/docker/install.sh"
"""The block with this is typed by the test of the images, in an environment of its own."""

RUNS = "broker-plugin run"
"""What does not end by itself."""

READY = "/readyz"


@pytest.fixture
def kafka_topics(tmp_path: Path) -> Path:
    """A folder with `kafka-topics.sh`, as Kafka's own archive has it."""
    tool = tmp_path / "kafka" / "kafka-topics.sh"
    tool.parent.mkdir()
    command = f"exec '{java()}' -XX:TieredStopAtLevel=1 -cp '{kafka_tools_classpath()}'"
    tool.write_text(f'#!/bin/sh\n{command} org.apache.kafka.tools.TopicCommand "$@"\n')
    tool.chmod(0o755)
    return tool.parent


def test_it_can_be_typed_as_it_stands(
    tmp_path: Path,
    kafka_broker: KafkaCluster,
    kafka_topics: Path,
    promtool: str,
) -> None:
    broker = kafka_broker
    (port,) = free_ports(1)
    (tmp_path / "deploy").symlink_to(REPOSITORY / "deploy")
    tonight = night_of("ztf", datetime.now(UTC)).isoformat()
    instead = {"localhost:9092": broker.bootstrap, "9100": str(port)}
    instead["audit --config"] = (
        f"audit --night {tonight} --config"  # the last that is over has no messages here
    )
    reader = Reader(tmp_path, instead=instead)
    reader.environment["PATH"] = f"{kafka_topics}:{reader.environment['PATH']}"
    printed: dict[str, str] = {}
    service = ServerProcess(
        "the service",
        broker_plugin_command("run", "--config", "run.toml", "--device", "cpu"),
        log_path=tmp_path / "run.log",
    )
    try:
        for block in blocks(GUIDE, "sh"):
            if INSTALLS in block:
                continue
            if block.startswith(RUNS):
                assert block == "broker-plugin run --config run.toml\n"
                service.command[service.command.index("run.toml")] = str(tmp_path / "run.toml")
                service.start()
                service.wait_ready(
                    lambda: verdicts_counted(port) == on_topics(broker, "alerts") > 0, timeout_s=90.0
                )
            else:
                printed[block] = reader.read(block)
    finally:
        if service.alive:
            assert stop_in_order(service) == 0
    output, n_alerts = "\n".join(printed.values()), on_topics(broker, "alerts")
    assert f"{n_alerts} messages sent to alerts" in output
    assert '{"ready": true, "why": []}' in output
    assert f'broker_plugin_verdicts_total{{survey="ztf"}} {n_alerts}.0' in output
    assert "ztf:ZTF" in output  # the strangest
    (audited,) = [text for block, text in printed.items() if "audit --config" in block]
    night = json.loads(audited[audited.index("{") :])
    assert night["complete"] is True
    assert sum(partition["verdicts"] for partition in night["partitions"]) == n_alerts
    assert "SUCCESS" in output


def verdicts_counted(port: int) -> float:
    """Return how many verdicts the service has counted, as it does when they are committed."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=10) as answer:
            page = answer.read().decode()
    except OSError:
        return 0.0
    found = re.search(r'^broker_plugin_verdicts_total{survey="ztf"} (\S+)$', page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def on_topics(broker: KafkaCluster, *topics: str) -> int:
    return sum(sum(broker.end_offsets(topic).values()) for topic in topics)
