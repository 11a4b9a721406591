# SPDX-License-Identifier: BSD-3-Clause
"""What is sent to an input topic, and that a live one is not the default."""

from __future__ import annotations

import io
from pathlib import Path

import fastavro
import pytest
from numpy.random import Generator

from broker_plugin.commands.feed import feed
from broker_plugin.errors import ConfigurationError
from tests.support.cluster import KafkaCluster

SCHEMA = fastavro.parse_schema(
    {"type": "record", "name": "alert", "fields": [{"name": "cutout", "type": "bytes"}]}
)


def run_toml(folder: Path, bootstrap: str, topic: str, tense: str) -> Path:
    path = folder / "run.toml"
    path.write_text(f'survey = "ztf"\nbootstrap = "{bootstrap}"\ninput = "{topic}"\ntense = "{tense}"\n')
    return path


@pytest.mark.parametrize("tense", ["current", "archival", "injection"])
def test_the_input_of_a_service_that_is_not_tried_out_must_be_named(tmp_path: Path, tense: str) -> None:
    config = run_toml(tmp_path, "127.0.0.1:9", "alerts", tense)
    with pytest.raises(
        ConfigurationError, match=r'alerts may be a live topic; set tense = "test", or .* --topic'
    ):
        feed(config=config)


def test_settings_are_not_sent_as_an_alert(tmp_path: Path) -> None:
    config = run_toml(tmp_path, "127.0.0.1:9", "alerts", "test")
    with pytest.raises(ConfigurationError, match="holds settings"):
        feed(config, config=config)


@pytest.mark.service
def test_packets_larger_than_a_producer_sends_unasked(
    tmp_path: Path, kafka_broker: KafkaCluster, rng: Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    packets = io.BytesIO()
    fastavro.writer(packets, SCHEMA, [{"cutout": rng.bytes(size)} for size in (1000, 2_000_000, 1000)])
    (tmp_path / "night.avro").write_bytes(packets.getvalue())
    topic = kafka_broker.create_topic("large-packets", max_message_bytes=10_000_000)
    feed(
        tmp_path / "night.avro",
        config=run_toml(tmp_path, kafka_broker.bootstrap, "alerts", "current"),
        topic=topic,
    )
    assert f"3 messages sent to {topic}" in capsys.readouterr().out
    assert sum(kafka_broker.end_offsets(topic).values()) == 3
