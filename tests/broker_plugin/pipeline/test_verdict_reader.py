# SPDX-License-Identifier: BSD-3-Clause
"""What is written can be read back, and what is no verdict is refused."""

from __future__ import annotations

import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import fastavro
import pytest

from broker_plugin.codec.registry import SchemaRegistry
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.verdict import Verdict, encode_container, schema_text, to_json, to_record
from broker_plugin.errors import RejectedAlert
from broker_plugin.pipeline.filter import AlertFilter
from broker_plugin.pipeline.outbox import framed
from broker_plugin.pipeline.verdict_reader import RecordReader, verdict_reader
from broker_plugin.streams.base import Message


@pytest.fixture
def verdicts(alert_filter: AlertFilter, messages: list[Message]) -> list[Verdict]:
    return [v for j in alert_filter.judge(messages) for v in j.verdicts]


@pytest.fixture
def reader() -> RecordReader[Verdict]:
    return verdict_reader(SchemaStore(installed=False))


def encoded(schema: dict[str, Any], record: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.writer(buffer, schema, [record])
    return buffer.getvalue()


def test_containers_are_read_back(reader: RecordReader[Verdict], verdicts: list[Verdict]) -> None:
    # JSON has milliseconds, as the schema does.
    assert [to_json(reader.read(encode_container(v))) for v in verdicts] == [to_json(v) for v in verdicts]


def test_framed_messages_are_read_back(verdicts: list[Verdict], tmp_path: Path) -> None:
    registry = SchemaRegistry("mock://verdicts")
    encode = framed(registry.register_verdict_schema("verdicts-value"))
    reader = verdict_reader(SchemaStore(registry, cache_dir=tmp_path, installed=False))
    assert [to_json(reader.read(encode(v))) for v in verdicts] == [to_json(v) for v in verdicts]


def test_a_later_minor_version_is_read_without_its_new_fields(
    reader: RecordReader[Verdict], verdicts: list[Verdict]
) -> None:
    schema = json.loads(schema_text())
    schema["fields"].append({"name": "new_field", "type": ["null", "string"], "default": None})
    value = encoded(schema, to_record(verdicts[0]) | {"new_field": "x"})
    assert to_json(reader.read(value)) == to_json(verdicts[0])


def test_an_earlier_minor_version_is_read_with_the_defaults(
    reader: RecordReader[Verdict], verdicts: list[Verdict]
) -> None:
    schema = json.loads(schema_text())
    late = [field["name"] for field in schema["fields"] if "default" in field and field["name"] != "tense"]
    schema["fields"] = [field for field in schema["fields"] if field["name"] not in late]
    found = reader.read(encoded(schema, to_record(verdicts[0])))
    assert found.verdict_id == verdicts[0].verdict_id
    assert found.top_class is None
    assert found.class_set == ()
    assert isinstance(found.emitted_at, datetime)


@pytest.mark.parametrize("value", [b"", b"junk", b"Obj\x01", b"\x00\x00\x00\x00\x01abc"])
def test_junk_is_refused(reader: RecordReader[Verdict], value: bytes) -> None:
    with pytest.raises(RejectedAlert):
        reader.read(value)


def test_an_alert_is_no_verdict(reader: RecordReader[Verdict], native_packets: list[bytes]) -> None:
    with pytest.raises(RejectedAlert, match="not a verdict"):
        reader.read(native_packets[0])
