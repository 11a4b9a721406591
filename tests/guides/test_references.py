# SPDX-License-Identifier: BSD-3-Clause
"""The commands of the pages on models, security, store, topics, delivery and ledger run as they stand."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from broker_plugin.errors import RejectedAlert, RejectReason
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.outbox import Outbox
from broker_plugin.streams.base import Message
from tests.e2e.service import Topics
from tests.support.artefacts import REPOSITORY
from tests.support.bundles import make_bundle
from tests.support.cluster import KafkaCluster
from tests.support.guides import Reader, blocks

MODELS = REPOSITORY / "deploy/docs/models.md"
SECURITY = REPOSITORY / "deploy/docs/security.md"
STORE = REPOSITORY / "deploy/docs/store.md"
TOPICS = REPOSITORY / "deploy/docs/topics.md"
DELIVERY = REPOSITORY / "deploy/docs/delivery.md"
LEDGER = REPOSITORY / "deploy/docs/ledger.md"

N_PACKETS = 8


@pytest.fixture
def packets(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "alerts/ztf/native").glob("*.avro"))[:N_PACKETS]


@pytest.fixture
def run_toml(tmp_path: Path, kafka_broker: KafkaCluster, topic: Callable[[str], str]) -> Topics:
    """Settings of a service in the folder, and its topics."""
    topics = Topics(kafka_broker, topic)
    settings = {
        "survey": "ztf",
        "bootstrap": kafka_broker.bootstrap,
        "input": topics.input,
        "output": topics.output,
        "dead_letters": topics.dead_letters,
        "ledger": topic("ledger"),
        "group": topics.group,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (tmp_path / "run.toml").write_text("\n".join(lines) + "\n")
    return topics


def read_through(page: Path, reader: Reader) -> str:
    """Type what can be typed of a page, and return what it printed."""
    return "\n".join(map(reader.read, blocks(page, "sh")))


def send_verdicts(cluster: KafkaCluster, topic: str, packets: list[Path], bundle: str) -> None:
    recipe = FilterRecipe(bundle=bundle, device="cpu")
    messages = [
        Message(topic="in", partition=0, offset=offset, value=path.read_bytes())
        for offset, path in enumerate(packets)
    ]
    parcels = Outbox(topic, DeadLetters(topic="none")).pack(recipe.filter(recipe.scorer()).judge(messages))
    cluster.produce(topic, [(each.key, each.value, each.headers) for one in parcels for each in one.contents])


def test_models_are_added_promoted_rolled_back_and_compared(
    tmp_path: Path, packets: list[Path], kafka_broker: KafkaCluster, topic: Callable[[str], str]
) -> None:
    make_bundle(tmp_path / "runs/mine/bundle", name="mine", version="1")
    make_bundle(tmp_path / "my-fit", temperature=3.0)
    verdicts, shadow = (kafka_broker.create_topic(topic(name)) for name in ("verdicts", "shadow"))
    send_verdicts(kafka_broker, verdicts, packets, "default")
    send_verdicts(kafka_broker, shadow, packets, str(tmp_path / "my-fit"))
    instead = {
        "/srv/bundles": str(tmp_path / "repository"),
        "localhost:9092": kafka_broker.bootstrap,
        "--topic verdicts ": f"--topic {verdicts} ",
        "verdicts-shadow": shadow,
    }
    reader = Reader(tmp_path, instead=instead, variables={"ASTROM3_BUNDLES": str(tmp_path / "repository")})
    paths = " ".join(map(str, packets))
    for name, bundle in (("old", "default"), ("new", "my-fit")):
        Reader(tmp_path).read(
            f"broker-plugin replay {paths} --bundle {bundle} --out {name}.parquet --device cpu"
        )
    said = read_through(MODELS, reader)
    assert "mine@2" in said
    assert json.loads((tmp_path / "numbers.json").read_text())
    assert (tmp_path / "page.html").stat().st_size > 0


def test_rights_are_granted_by_kafka_s_own_tool(tmp_path: Path) -> None:
    tool = tmp_path / "kafka-acls.sh"
    tool.write_text('#!/bin/sh\necho "granted $*"\n')
    tool.chmod(0o755)
    path = f"{REPOSITORY / 'deploy/kafka'}:{tmp_path}:{os.environ['PATH']}"
    said = read_through(SECURITY, Reader(tmp_path, variables={"PATH": path}))
    for granted in ("User:astronomer", "--group astrom3", "--transactional-id astrom3-", "admin.properties"):
        assert granted in said


def test_a_store_takes_nights_and_a_catalogue(tmp_path: Path, packets: list[Path]) -> None:
    shutil.copy(packets[0], tmp_path / "night1.avro")
    shutil.copy(packets[1], tmp_path / "night2.avro")
    for name in ("night1", "night2"):
        Reader(tmp_path).read(f"tar czf {name}.tar.gz {name}.avro")
    star = {"source_id": 1, "ra": 10.0, "dec": 20.0, "phot_g_mean_mag": 15.0}
    pq.write_table(pa.Table.from_pylist([star]), tmp_path / "gaia.parquet")
    said = read_through(STORE, Reader(tmp_path, instead={"/var/lib/astrom3": str(tmp_path)}))
    assert "2 verdicts" in said
    assert (tmp_path / "store.sqlite").exists()


def test_topics_are_shown_and_made(tmp_path: Path, run_toml: Topics) -> None:
    # This cluster has one broker.
    said = read_through(TOPICS, Reader(tmp_path, instead={"--replicas 3": "--replicas 1"}))
    assert f"kafka-topics.sh --bootstrap-server {run_toml.cluster.bootstrap} --create" in said
    assert ": made" in said


def test_dead_letters_are_listed_shown_and_judged_again(
    tmp_path: Path, packets: list[Path], run_toml: Topics
) -> None:
    message = Message(topic=run_toml.input, partition=0, offset=0, value=packets[0].read_bytes())
    rejection = RejectedAlert(RejectReason.UNKNOWN_SCHEMA, "not known yet")
    letter = DeadLetters(topic=run_toml.dead_letters).pack(message, rejection)
    run_toml.cluster.produce(run_toml.dead_letters, [(letter.key, letter.value, letter.headers)])
    (place,) = (f"{p}:0" for p, end in run_toml.cluster.end_offsets(run_toml.dead_letters).items() if end)
    said = read_through(DELIVERY, Reader(tmp_path, instead={"0:1234": place}))
    assert "unknown_schema" in said
    assert len(run_toml.verdicts(1)) == 1


def test_a_night_is_audited(tmp_path: Path, run_toml: Topics) -> None:
    reader = Reader(tmp_path)
    reader.read("broker-plugin topics --config run.toml --create")
    assert "no message of this night, 2026-11-27" in read_through(LEDGER, reader)
