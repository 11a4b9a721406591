# SPDX-License-Identifier: BSD-3-Clause
"""Further topics: how they are set, how they are made, and how their records are framed."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from broker_plugin.codec.packets import decode_message
from broker_plugin.codec.registry import SchemaRegistry
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.topic_schema import topic_schema
from broker_plugin.codec.verdict import from_record
from broker_plugin.commands.topics import topics
from broker_plugin.errors import ConfigurationError
from broker_plugin.pipeline.routing import candidate_record
from broker_plugin.service.consistency import check_service
from broker_plugin.service.outputs import open_routes, record_encoding, written_topics
from broker_plugin.service.settings_sources import load_settings
from broker_plugin.settings import Settings
from tests.broker_plugin.codec.test_verdict import VERDICT

RUN = """
survey = "ztf"
bootstrap = "localhost:9092"
input = "alerts"
output = "verdicts"
dead_letters = "dead-letters"
group = "g"
ledger = "ledger"
embeddings = "embeddings"
shadow = "candidate"
shadow_topic = "shadow"
dead_letters_max_bytes = 2_000_000

[[routes]]
topic = "candidates"
name = "strange stars"
context = "stellar"
max_p_value = 0.01
min_brightening_mag = 3.0

[[routes]]
topic = "candidates"
classes = ["pulsating", "RRAB"]
min_probability = 0.9
"""


def settings_of(folder: Path, text: str, **flags: Any) -> Settings:
    path = folder / "run.toml"
    path.write_text(text)
    return load_settings(flags, config=path)


def test_routes_are_tables_of_the_file(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, RUN)
    check_service(settings)
    strange, pulsating = open_routes(settings, threading.Event())
    assert (strange.name, strange.topic) == ("strange stars", "candidates")
    assert (strange.selection.context, strange.selection.max_p_value) == ("stellar", 0.01)
    assert strange.selection.min_brightening_mag == 3.0
    assert pulsating.name == "candidates"
    assert pulsating.selection.classes == ("pulsating", "RRAB")
    assert written_topics(settings) == [
        "verdicts",
        "dead-letters",
        "ledger",
        "shadow",
        "embeddings",
        "candidates",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('topic = "candidates"\nmax_p_value = 2.0', r"max_p_value of \[\[routes\]\] no\. 1"),
        ('topic = "candidates"\nclass = "RRAB"', r"class of \[\[routes\]\] no\. 1"),
        ("max_p_value = 0.1", r"topic of \[\[routes\]\] no\. 1"),
        ('topic = "verdicts"', "give it its own"),
        ('topic = "ledger"', "give it its own"),
        ('topic = "alerts"', "would read what it writes"),
    ],
)
def test_a_route_that_cannot_work_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        check_service(settings_of(tmp_path, f"{RUN.partition('[[')[0]}\n[[routes]]\n{text}\n"))


def test_no_command_makes_a_topic_that_cannot_be(tmp_path: Path) -> None:
    settings_of(tmp_path, RUN.replace('"dead-letters"', '"dead letters"'))
    with pytest.raises(ConfigurationError, match="'dead letters' is no topic"):
        topics(config=tmp_path / "run.toml")


def test_the_commands_that_make_the_topics_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings_of(tmp_path, RUN)
    topics(config=tmp_path / "run.toml", partitions=45, replicas=3)
    lines = {line.split("--topic ")[1].split(" --")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert list(lines) == ["verdicts", "dead-letters", "candidates", "shadow", "embeddings", "ledger"]
    assert all("--if-not-exists" in line and "--replication-factor 3" in line for line in lines.values())
    assert "--partitions 45" in lines["verdicts"]
    assert "--partitions 1 " in lines["candidates"]
    assert lines["ledger"].endswith("--config cleanup.policy=compact")
    assert "max.message.bytes=2065536" in lines["dead-letters"]
    days = {
        name: int(line.split("retention.ms=")[1].split()[0]) / 86_400_000
        for name, line in lines.items()
        if "retention" in line
    }
    assert days == {"verdicts": 7, "dead-letters": 30, "candidates": 28, "shadow": 7, "embeddings": 3}


def test_with_a_registry_records_are_framed_with_a_schema_of_their_own(tmp_path: Path) -> None:
    url = f"mock://{uuid.uuid4().hex}"
    settings = settings_of(tmp_path, RUN, registry=url)
    record = candidate_record("strange stars", VERDICT, None)
    encode = record_encoding(settings, threading.Event(), topic="candidates", schema="candidate.v1")
    store = SchemaStore(SchemaRegistry(url), cache_dir=tmp_path, installed=False)
    value = encode(record)
    assert value[0] == 0
    (read,) = decode_message(value, schema_of=store.writer_schema).packets
    assert read["route"] == "strange stars"
    assert read["verdict"]["verdict_id"] == VERDICT.verdict_id
    bare = decode_message(topic_schema("candidate.v1").container(record), schema_of=store.writer_schema)
    assert from_record(bare.packets[0]["verdict"]).alert_key == VERDICT.alert_key
