# SPDX-License-Identifier: BSD-3-Clause
"""All topics of `broker-plugin run` on a real Kafka: made by `topics`, each with what it is for."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]  # not in __all__

from broker_plugin.pipeline.selection import Selection
from tests.e2e.conftest import StartRun
from tests.e2e.service import (
    Topics,
    as_records,
    broker_plugin_command,
    environment,
    stop_in_order,
    verdict_of,
    ztf_packets,
)
from tests.support.cluster import KafkaCluster, KafkaRecord

pytestmark = pytest.mark.service

N_PACKETS = 60

P_VALUE = 0.2


def opened(record: KafkaRecord) -> dict[str, Any]:
    (found,) = fastavro.reader(io.BytesIO(record.value or b""))
    assert isinstance(found, dict)
    return found


def config_of(cluster: KafkaCluster, topic: str) -> dict[str, str]:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    (future,) = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
    return {name: entry.value for name, entry in future.result(30.0).items()}


def test_candidates_embeddings_and_ledger_have_topics_of_their_own(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], data_dir: Path, run: StartRun, tmp_path: Path
) -> None:
    topics = Topics(kafka_broker, topic)
    names = {role: topic(role) for role in ("output", "dead_letters", "ledger", "embeddings", "candidates")}
    topics.output, topics.dead_letters = names["output"], names["dead_letters"]
    config = tmp_path / "run.toml"
    config.write_text(
        "".join(f'{role} = "{name}"\n' for role, name in names.items() if role != "candidates")
        + f'bootstrap = "{kafka_broker.bootstrap}"\ninput = "{topics.input}"\ngroup = "{topics.group}"\n'
        + f'[[routes]]\ntopic = "{names["candidates"]}"\nname = "odd"\nmax_p_value = {P_VALUE}\n'
    )

    def make() -> list[str]:
        command = broker_plugin_command("topics", "--config", str(config), "--create", "--partitions", "2")
        done = subprocess.run(
            command, env=environment(tmp_path), capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout.splitlines()

    assert make() == [
        f"{names[role]}: made" for role in ("output", "dead_letters", "candidates", "embeddings", "ledger")
    ]
    assert all(line.endswith("there already, left as it is") for line in make())
    assert kafka_broker.partitions(names["output"]) == [0, 1]
    assert config_of(kafka_broker, names["ledger"])["cleanup.policy"] == "compact"
    assert config_of(kafka_broker, names["candidates"])["retention.ms"] == str(28 * 86_400_000)

    kafka_broker.produce(topics.input, as_records(ztf_packets(data_dir)[:N_PACKETS]))
    process = run(["--config", str(config)])
    process.wait_ready(lambda: topics.committed() == N_PACKETS, timeout_s=90.0)
    assert stop_in_order(process) == 0

    verdicts = {v.verdict_id: v for v in map(verdict_of, topics.verdicts(N_PACKETS))}
    assert len(verdicts) == N_PACKETS
    assert {verdict.embedding for verdict in verdicts.values()} == {None}
    chosen = {k for k, verdict in verdicts.items() if Selection(max_p_value=P_VALUE).accepts(verdict)}
    assert 0 < len(chosen) < N_PACKETS
    candidates = [opened(record) for record in kafka_broker.consume_all(names["candidates"])]
    assert {candidate["verdict"]["verdict_id"] for candidate in candidates} == chosen
    assert len(candidates) == len(chosen)
    for candidate in candidates:
        verdict = verdicts[candidate["verdict"]["verdict_id"]]
        assert len(candidate["light_curve"]) == verdict.n_epochs
        assert candidate["links"]["lasair"].endswith(f"/{verdict.object_id.removeprefix('ztf:')}/")
    embeddings = [opened(record) for record in kafka_broker.consume_all(names["embeddings"])]
    assert {embedding["verdict_id"] for embedding in embeddings} == set(verdicts)
    vectors = np.array([np.frombuffer(each["values"], "<f2") for each in embeddings], np.float64)
    # float16 has eleven bits, and the rounding of the components averages out.
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)
    entries = {record.key: opened(record) for record in kafka_broker.consume_all(names["ledger"])}
    assert sum(entry["messages"] for entry in entries.values()) == N_PACKETS
