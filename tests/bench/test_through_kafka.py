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

pytestmark = [pytest.mark.bench, pytest.mark.service, pytest.mark.timeout(900)]

SHARE_MIN = 0.3
"""Of the bare rate. The broker, the consumer and the producer need cores too; half is what we want."""

OUT = REPOSITORY / "runs/bench/kafka.json"


def test_kafka_leaves_a_good_part_of_the_rate(kafka_broker: KafkaCluster, data_dir: Path) -> None:
    """The bare rate is that of the same run; of all else `--quick` measures as little as there is."""
    command = [
        sys.executable,
        "-m",
        "broker_plugin",
        "bench",
        "--alerts",
        str(data_dir / "alerts"),
        "--quick",
    ]
    ended = subprocess.run(
        [*command, "--json", str(OUT), "--kafka", kafka_broker.bootstrap], text=True, check=False
    )
    assert ended.returncode == 0
    document = json.loads(OUT.read_text("utf-8"))
    steady, burst = document["kafka"]["steady"], document["kafka"]["burst"]
    assert steady["delivered"] == steady["sent"]
    assert burst["delivered"] == burst["messages"]
    assert burst["alerts_per_s"] > SHARE_MIN * document["end_to_end"]["ztf"]["alerts_per_s"]
