# SPDX-License-Identifier: BSD-3-Clause
"""The drill's stream holds what it says: real packets that differ in their id, and poison."""

from __future__ import annotations

import io
from pathlib import Path

import fastavro
import pytest

from tests.drill.stream import AlertStream, datum, varint


@pytest.fixture
def native(data_dir: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((data_dir / "alerts/ztf/native").glob("*.avro"))[:20]]


def test_a_repeated_packet_differs_in_its_id_alone(native: list[bytes]) -> None:
    stream = AlertStream(native, size=100, poisoned=0, seed=1)
    ids = set()
    for number in range(stream.size):
        _, value, _ = stream.message(number)
        (alert,) = fastavro.reader(io.BytesIO(value or b""))
        assert isinstance(alert, dict)
        assert alert["candid"] == alert["candidate"]["candid"]
        ids.add(alert["candid"])
    assert ids == stream.alert_ids
    original = {_without_id(value) for value in native}
    assert {_without_id(stream.message(number)[1] or b"") for number in range(100)} <= original


def test_poison_lies_where_the_seed_says(native: list[bytes]) -> None:
    streams = [AlertStream(native, size=100, poisoned=10, seed=seed) for seed in (1, 1, 2)]
    keys = [{stream.message(n)[0] for n in range(100)} for stream in streams]
    assert keys[0] == keys[1] != keys[2]
    assert len(streams[0].alert_ids) == 90
    assert {key for key in keys[0] if key and key.startswith(b"poison")} == streams[0].poison_keys


def test_a_packet_goes_over_the_wire_without_its_schema(native: list[bytes]) -> None:
    stream = AlertStream(native[:3], size=3, poisoned=0, seed=1, wire=datum)
    for number, packet in enumerate(native[:3]):
        schema = fastavro.reader(io.BytesIO(packet)).writer_schema
        bare = stream.message(number)[1] or b""
        alert = fastavro.schemaless_reader(io.BytesIO(bare), schema, None)
        assert isinstance(alert, dict)
        assert alert["candid"] in stream.alert_ids


def _without_id(value: bytes) -> bytes:
    (alert,) = fastavro.reader(io.BytesIO(value))
    assert isinstance(alert, dict)
    return value.replace(varint(alert["candid"]), b"id")
