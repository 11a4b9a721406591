# SPDX-License-Identifier: BSD-3-Clause
"""Messages of both surveys become alerts: every real one, and generated ones of every schema version."""

from __future__ import annotations

import io
import math
import struct
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.limits import Limits
from broker_plugin.codec.packets import read_container_file
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.errors import RejectedAlert, RejectReason
from broker_plugin.records import Access, Provenance
from broker_plugin.surveys.registry import adapters
from tests.broker_plugin.surveys.packets import assert_sound, lsst_alert, parts, ztf_packet

IDS = (701, 702, 703, 704, 800, 900, 1000, 1100, 1101)
FROM = Provenance(topic="alerts", partition=3, offset=14)
ODD_NUMBERS = [0.0, -1.0, 1.0, 1e30, -1e30, -999.0, 123.456, math.nan, math.inf]

pytestmark = pytest.mark.usefixtures("rubin_schemas")


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(schemas=SchemaStore(), adapters=adapters())


def test_every_native_ztf_message_is_an_alert(decoder: Decoder, data_dir: Path) -> None:
    versions: Counter[str] = Counter()
    for path in sorted((data_dir / "alerts/ztf/native").glob("*.avro")):
        (alert,) = decoder.decode(path.read_bytes(), FROM)
        assert_sound(alert)
        assert alert.provenance.topic == "alerts"
        assert alert.provenance.offset == 14
        versions[alert.provenance.schema] += 1
    assert versions == {
        "ztf 3.3": 98, "ztf 3.2": 46, "ztf 4.01": 22, "ztf 3.0": 16, "ztf 4.02": 13, "ztf 3.5": 2, "": 1,
    }  # fmt: skip


def test_every_raw_lsst_message_is_an_alert(decoder: Decoder, data_dir: Path) -> None:
    found: Counter[tuple[str, str]] = Counter()
    for path in sorted((data_dir / "alerts/lsst/raw").glob("*/*.avro")):
        for alert in decoder.decode(path.read_bytes(), FROM):
            assert_sound(alert)
            found[path.parent.name, alert.provenance.schema] += 1
    assert found == {
        ("alerce_confluent_wire_v7_4", "lsst.v7_4"): 3,
        ("boom_confluent_wire", "lsst.v7_3"): 1,
        ("boom_confluent_wire", "lsst.v9_0"): 1,
        ("fink-broker_v7_4", ""): 8,
        ("fink-broker_v9_0", "lsst.v9_0"): 22,
        ("fink-client_v10_0", "lsst.v10_0"): 7,
    }


def test_raw_and_re_encoded_forms_of_an_alert_are_equal(decoder: Decoder, data_dir: Path) -> None:
    by_id = {
        alert.alert_id: alert
        for path in sorted((data_dir / "alerts/lsst").glob("*.avro"))
        for packet in read_container_file(path)
        for alert in decoder.adapt(packet, FROM)
    }
    assert len(by_id) == 493
    compared = 0
    for path in sorted((data_dir / "alerts/lsst/raw").glob("*/*.avro")):
        for alert in decoder.decode(path.read_bytes(), FROM):
            if alert.alert_id in by_id:
                assert parts(alert) == parts(by_id[alert.alert_id])
                compared += 1
    assert compared == 33  # the other nine are on disk in their raw form only


def random_value(kind: Any, named: Mapping[str, Any], rng: np.random.Generator, depth: int = 0) -> Any:
    """Return a random value of an Avro type: odd numbers, nulls and short arrays included."""
    if isinstance(kind, list):
        return random_value(kind[rng.integers(len(kind))], named, rng, depth)
    if isinstance(kind, str):
        if kind in named:
            return random_value(named[kind], named, rng, depth)
        return {
            "null": None,
            "boolean": bool(rng.integers(2)),
            "int": int(rng.integers(-5, 200)),
            "long": int(rng.integers(-1, 2**62)),
            "float": float(np.float32(ODD_NUMBERS[rng.integers(len(ODD_NUMBERS))])),
            "double": ODD_NUMBERS[rng.integers(len(ODD_NUMBERS))],
            "string": ["", "r", "g", "null", "nan"][rng.integers(5)],
            "bytes": rng.bytes(20),
        }[kind]
    if kind["type"] == "record":
        return {
            member["name"]: random_value(member["type"], named, rng, depth + 1) for member in kind["fields"]
        }
    if kind["type"] == "array":
        return [random_value(kind["items"], named, rng, depth + 1) for _ in range(rng.integers(4))]
    return random_value(kind["type"], named, rng, depth)


@pytest.mark.parametrize("schema_id", IDS)
def test_generated_messages_of_every_version_are_alerts(
    schema_id: int, decoder: Decoder, rng: np.random.Generator
) -> None:
    schema = SchemaStore().writer_schema(schema_id).parsed
    named = {}

    def collect(kind: Any) -> None:
        if isinstance(kind, list):
            for branch in kind:
                collect(branch)
        elif isinstance(kind, dict):
            if kind["type"] == "record":
                named[kind["name"]] = kind
                for member in kind["fields"]:
                    collect(member["type"])
            else:
                collect(kind.get("items", kind["type"]))

    collect(schema)
    known = {"diaSourceId": 12345, "ra": 10.0, "dec": -30.0, "midpointMjdTai": 61_000.5}
    epochs = 0
    for _ in range(60):
        packet = random_value(schema, named, rng)
        packet["diaSource"] |= known
        if rng.integers(2):
            packet["diaSource"] |= {"psfFlux": 500.0, "psfFluxErr": 5.0, "band": "y"}
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, schema, packet)
        (alert,) = decoder.decode(struct.pack(">bI", 0, schema_id) + buffer.getvalue(), FROM)
        assert_sound(alert)
        assert alert.alert_id == 12345
        assert alert.provenance.schema == f"lsst.v{schema_id // 100}_{schema_id % 100}"
        epochs += len(alert.light_curve)
    assert epochs >= 20


def container(*packets: Mapping[str, Any]) -> bytes:
    """Return packets in a container file, with a schema in which all but the records is nullable."""

    def kind_of(value: Any, name: str) -> Any:
        if isinstance(value, Mapping):
            members = [{"name": key, "type": kind_of(inner, f"{name}_{key}")} for key, inner in value.items()]
            return {"type": "record", "name": name, "fields": members}
        if isinstance(value, list):
            return {"type": "array", "items": kind_of(value[0], f"{name}_row")}
        return ["null", "string", "long", "double"]

    buffer = io.BytesIO()
    fastavro.writer(buffer, kind_of(packets[0], "packet"), packets)
    return buffer.getvalue()


def test_a_container_of_several_packets_is_as_many_alerts(decoder: Decoder) -> None:
    packets = [ztf_packet(candid=n) for n in (5, 6, 7)]
    assert [alert.alert_id for alert in decoder.decode(container(*packets), FROM)] == [5, 6, 7]


def test_a_packet_of_no_survey_is_missing_its_fields(decoder: Decoder) -> None:
    with pytest.raises(RejectedAlert) as rejected:
        decoder.decode(container({"x": 1.0}), FROM)
    assert rejected.value.reason is RejectReason.MISSING_FIELD
    assert rejected.value.access is None


def test_a_packet_of_another_survey_is_rejected(decoder: Decoder, data_dir: Path) -> None:
    only_lsst = Decoder(schemas=SchemaStore(), adapters=adapters(["lsst"]))
    with pytest.raises(RejectedAlert, match="lsst"):
        only_lsst.decode(container(ztf_packet()), FROM)


def test_an_undecodable_message_may_hold_anything(decoder: Decoder) -> None:
    with pytest.raises(RejectedAlert) as rejected:
        decoder.decode(b"junk", FROM)
    assert rejected.value.access is None


def test_the_limit_on_bytes_is_the_decoders(decoder: Decoder) -> None:
    value = container(ztf_packet())
    strict = Decoder(schemas=SchemaStore(), adapters=adapters(), limits=Limits(message_bytes=len(value) - 1))
    with pytest.raises(RejectedAlert) as rejected:
        strict.decode(value, FROM)
    assert rejected.value.reason is RejectReason.TOO_LARGE


def test_a_rejected_packet_of_several_says_whose_all_of_them_are(decoder: Decoder) -> None:
    # The dead letter would hold the whole message, so one private packet in it makes it private.
    value = container(ztf_packet(ra=None, candid=5), ztf_packet(programid=3, candid=6))
    with pytest.raises(RejectedAlert) as rejected:
        decoder.decode(value, FROM)
    assert rejected.value.reason is RejectReason.MISSING_FIELD
    assert rejected.value.access == {Access.PUBLIC, Access.CALTECH}


def test_a_hidden_alert_is_rejected_unless_the_sink_is_declared(decoder: Decoder) -> None:
    value = container(ztf_packet(programid=2))
    with pytest.raises(RejectedAlert) as rejected:
        decoder.decode(value, FROM)
    assert rejected.value.reason is RejectReason.ACCESS
    assert rejected.value.access == {Access.PARTNERSHIP}
    declared = Decoder(
        schemas=SchemaStore(), adapters=adapters(), access=frozenset({Access.PUBLIC, Access.PARTNERSHIP})
    )
    assert len(declared.decode(value, FROM)) == 1


def test_a_decoded_packet_keeps_the_version_that_its_reader_named(decoder: Decoder, data_dir: Path) -> None:
    path = data_dir / "alerts/lsst/lsst_v9_0_nocutouts.avro"
    packet = next(iter(read_container_file(path)))
    (alert,) = decoder.adapt(packet, Provenance(topic="t", schema="lsst.v9_0"))
    assert alert.provenance.schema == "lsst.v9_0"
    assert parts(alert) == parts(lsst_alert(packet))
