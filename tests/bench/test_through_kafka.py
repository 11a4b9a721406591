# SPDX-License-Identifier: BSD-3-Clause
"""The service through a real Kafka on the same cores, against the bare way from bytes to verdicts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.artefacts import REPOSITORY
from tests.support.cluster import KafkaCluster

pytestmark = [pytest.mark.bench, pytest.mark.service, pytest.mark.timeout(1800)]

SHARE_MIN = 0.5
"""Of the bare rate, while a backlog is worked off: broker, consumer and producer need cores too."""

P50_MAX_MS, P99_MAX_MS = 100.0, 500.0
"""At 300 alerts a second, from a message's own time until its verdict is acknowledged."""

DRAINED_MAX_S = 10.0
"""Of a burst of 10,000 alerts, sending included."""

READY_MAX_S = 5.0


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_kafka_leaves_half_of_the_rate(
    kafka_broker: KafkaCluster, data_dir: Path, tmp_path: Path, survey: str
) -> None:
    """The bare rate is that of the same run; it goes through Kafka with the alerts of one survey."""
    (tmp_path / survey).symlink_to(data_dir / "alerts" / survey)
    out = REPOSITORY / f"runs/bench/kafka-{survey}.json"
    command = [sys.executable, "-m", "broker_plugin", "bench", "--alerts", str(tmp_path)]
    ended = subprocess.run(
        [*command, "--json", str(out), "--kafka", kafka_broker.bootstrap], text=True, check=False
    )
    assert ended.returncode == 0
    document = json.loads(out.read_text("utf-8"))
    assert document["process"]["ready_s"] < READY_MAX_S
    kafka, bare = document["kafka"], document["end_to_end"][survey]["alerts_per_s"]
    assert kafka["corpus"] == survey
    steady, burst, backlog = kafka["steady"], kafka["burst"], kafka["scaling"][-1]
    assert steady["delivered"] == steady["sent"]
    assert steady["p50_ms"] < P50_MAX_MS
    assert steady["p99_ms"] < P99_MAX_MS
    assert burst["delivered"] == burst["messages"]
    assert burst["drained_in_s"] < DRAINED_MAX_S
    assert backlog["workers"] == document["settings"]["workers"]
    assert backlog["alerts_per_s"] > SHARE_MIN * bare
