# SPDX-License-Identifier: BSD-3-Clause
"""Messages decoded together give what each gives by itself, read whole."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import fastavro
import numpy as np
import pytest

from broker_plugin.codec import matrices
from broker_plugin.codec.decoder import DecodedBatch, Decoder, ReadPacket
from broker_plugin.codec.limits import Limits
from broker_plugin.codec.packets import CONTAINER_MAGIC, read_container_file
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.epochs import EpochRows
from broker_plugin.errors import RejectedAlert
from broker_plugin.records import Access, Alert, AlertBatch, LightCurve, Provenance
from broker_plugin.surveys.registry import adapters
from tests.broker_plugin.codec.test_decoder import container
from tests.broker_plugin.surveys.packets import (
    lsst_forced,
    lsst_packet,
    lsst_source,
    parts,
    ztf_detection,
    ztf_forced,
    ztf_packet,
)

pytestmark = pytest.mark.usefixtures("rubin_schemas")


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(schemas=SchemaStore(), adapters=adapters(), access=frozenset(Access))


def places(values: Sequence[bytes]) -> list[Provenance]:
    return [Provenance(topic="night", partition=1, offset=number) for number in range(len(values))]


def one_by_one(decoder: Decoder, values: Sequence[bytes]) -> list[list[Alert] | RejectedAlert]:
    found: list[list[Alert] | RejectedAlert] = []
    for value, place in zip(values, places(values), strict=True):
        try:
            found.append(decoder.decode(value, place))
        except RejectedAlert as rejection:
            found.append(rejection)
    return found


def everything(alert: Alert) -> tuple[Any, ...]:
    rows = alert.rows
    measured = None
    if rows is not None:
        measured = [(c.name, getattr(rows, c.name).tobytes()) for c in fields(EpochRows)]
    return {**parts(alert), "rows": measured}, alert.provenance


def columns_of(batch: AlertBatch) -> dict[str, Any]:
    columns = {column.name: getattr(batch, column.name) for column in fields(AlertBatch)}
    curve = columns.pop("epochs")
    columns |= {f"epochs.{column.name}": getattr(curve, column.name) for column in fields(LightCurve)}
    return {
        name: (value.dtype, value.tobytes()) if isinstance(value, np.ndarray) else value
        for name, value in columns.items()
    }


def assert_equal(decoder: Decoder, values: Sequence[bytes], *, left: int) -> DecodedBatch:
    """Check that messages decoded together are what they are alone, but for so many that are left over."""
    batch = decoder.decode_batch(values, places(values))
    alone = one_by_one(decoder, values)
    done = sorted(set(batch.message.tolist()))
    assert len(values) - len(done) == left
    expected: list[tuple[int, Alert]] = []
    for number in done:
        found = alone[number]
        assert isinstance(found, list)
        expected += [(number, alert) for alert in found]
    assert batch.message.tolist() == [number for number, _ in expected]
    for one, (_, other) in zip(batch.each(), expected, strict=True):
        assert everything(one) == everything(other)
    assert columns_of(batch.alerts) == columns_of(AlertBatch.from_alerts([alert for _, alert in expected]))
    return batch


def files_of(packets: Sequence[Mapping[str, Any]], like: Path) -> list[bytes]:
    """Return each packet as a container file of its own, with the schema of another file."""
    with like.open("rb") as source:
        schema = fastavro.parse_schema(fastavro.reader(source).writer_schema)
    head = io.BytesIO()
    fastavro.writer(head, schema, [])
    values = []
    for packet in packets:
        datum, block = io.BytesIO(), io.BytesIO()
        fastavro.schemaless_writer(datum, schema, packet)
        for number in (1, len(datum.getvalue())):
            fastavro.schemaless_writer(block, "long", number)
        values.append(head.getvalue() + block.getvalue() + datum.getvalue() + head.getvalue()[-16:])
    return values


def one_file(packets: Sequence[Mapping[str, Any]], like: Path, codec: str = "null") -> bytes:
    with like.open("rb") as source:
        schema = fastavro.reader(source).writer_schema
    buffer = io.BytesIO()
    fastavro.writer(buffer, schema, packets, codec=codec)
    return buffer.getvalue()


def test_every_native_ztf_message_is_what_it_is_alone(decoder: Decoder, data_dir: Path) -> None:
    values = [path.read_bytes() for path in sorted((data_dir / "alerts/ztf/native").glob("*.avro"))]
    assert_equal(decoder, values, left=0)


def test_every_raw_lsst_message_is_what_it_is_alone(decoder: Decoder, data_dir: Path) -> None:
    values = [path.read_bytes() for path in sorted((data_dir / "alerts/lsst/raw").glob("*/*.avro"))]
    # Those are of a broker whose schema lets a row of a history be null; for such there are no programs.
    of_a_broker = sum(value.startswith(CONTAINER_MAGIC) for value in values)
    assert of_a_broker == 31
    assert_equal(decoder, values, left=of_a_broker)


@pytest.mark.parametrize(
    "name", ["ztf/nocutouts", *(f"lsst/lsst_v{v}_nocutouts" for v in ("7_1", "7_3", "7_4", "9_0", "10_0"))]
)
def test_every_other_real_packet_is_what_it_is_alone(name: str, decoder: Decoder, data_dir: Path) -> None:
    path = data_dir / "alerts" / f"{name}.avro"
    packets = list(read_container_file(path))
    assert_equal(decoder, files_of(packets, path), left=0)


def test_messages_of_both_surveys_are_read_in_any_order_and_in_several_turns(
    decoder: Decoder, data_dir: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(matrices, "ROOM_MAX", 1000)  # rows; together they have thousands
    ztf = [path.read_bytes() for path in sorted((data_dir / "alerts/ztf/native").glob("*.avro"))]
    lsst = [path.read_bytes() for path in sorted((data_dir / "alerts/lsst/raw").glob("*/*.avro"))]
    framed = [value for value in lsst if not value.startswith(CONTAINER_MAGIC)]
    values = [(ztf + framed)[place] for place in rng.permutation(len(ztf) + len(framed)).tolist()]
    batch = assert_equal(decoder, values, left=0)
    assert set(batch.alerts.survey) == {"ztf", "lsst"}


def test_what_a_sink_may_not_see_is_left_out_in_the_same_way(data_dir: Path) -> None:
    public = Decoder(schemas=SchemaStore(), adapters=adapters())
    hidden = [ztf_detection(programid=n, candid=10 + n, jd=2_458_990.0 + n) for n in (1, 2, 3)]
    packets = [
        ztf_packet(previous=hidden, forced=[ztf_forced(programid=n) for n in (1, 2)]),
        ztf_packet(previous=hidden, forced=None, programid=2),
        ztf_packet(previous=None, forced=[]),
    ]
    assert_equal(public, [file_of(packet) for packet in packets], left=1)
    assert_equal(decoder_of(Access.PARTNERSHIP), [file_of(packet) for packet in packets], left=2)


def decoder_of(*access: Access) -> Decoder:
    return Decoder(schemas=SchemaStore(), adapters=adapters(), access=frozenset(access))


ANYTHING = ["null", "string", "long", "double", "boolean"]
RECORDS = {
    "candidate": ztf_packet()["candidate"],
    "diaSource": lsst_source(),
    "diaObject": {"diaObjectId": 1},
    "ssSource": {"ssObjectId": 1},
}
ARRAYS = {
    "prv_candidates": ztf_detection(),
    "fp_hists": ztf_forced(),
    "prvDiaSources": lsst_source(),
    "prvDiaForcedSources": lsst_forced(),
}


def file_of(packet: Mapping[str, Any]) -> bytes:
    """Return a packet in a container file, under a schema in which every value may be of any kind."""

    def kind_of(name: str) -> Any:
        record = RECORDS.get(name) or ARRAYS.get(name)
        if record is None:
            return ANYTHING
        members = [{"name": member, "type": ANYTHING} for member in record]
        kind = {"type": "record", "name": f"a_{name}", "fields": members}
        if name in ARRAYS:
            return ["null", {"type": "array", "items": kind}]
        return kind if name in ("candidate", "diaSource") else ["null", kind]

    fields = [{"name": name, "type": kind_of(name)} for name in packet]
    buffer = io.BytesIO()
    fastavro.writer(buffer, {"type": "record", "name": "packet", "fields": fields}, [packet])
    return buffer.getvalue()


ODD: list[Any] = [None, "", "t", "f", "nan", "x" * 300, "\u00e9", True, False]
ODD += [0, 1, 2, 3, -1, -999, 2**62, 0.0, 1.0, -999.0, 1e300, float("nan")]


def test_odd_values_of_every_field_are_read_in_the_same_way(
    decoder: Decoder, rng: np.random.Generator
) -> None:
    values = []
    for _ in range(300):
        packet = ztf_packet(
            previous=[ztf_detection(candid=7 + n, jd=2_458_990.0 + n) for n in range(rng.integers(4))],
            forced=[ztf_forced(jd=2_458_980.0 + n) for n in range(rng.integers(3))],
        )
        records = [packet, packet["candidate"], *packet["prv_candidates"], *packet["fp_hists"]]
        for _ in range(rng.integers(4)):
            record = records[rng.integers(len(records))]
            name = [*record][rng.integers(len(record))]
            if not isinstance(record[name], (dict, list)):
                record[name] = ODD[rng.integers(len(ODD))]
        values.append(file_of(packet))
    batch = decoder.decode_batch(values, places(values))
    alone = one_by_one(decoder, values)
    left = len(values) - len(set(batch.message.tolist()))
    rejected = sum(isinstance(found, RejectedAlert) for found in alone)
    assert rejected <= left < 150
    assert_equal(decoder, values, left=left)


def test_lsst_identities_and_histories_are_read_in_the_same_way(decoder: Decoder) -> None:
    history = [lsst_source(diaSourceId=n, midpointMjdTai=60_000.0 + n, visit=n) for n in range(1, 5)]
    forced = [lsst_forced(diaForcedSourceId=n, midpointMjdTai=59_000.0 + n) for n in range(1, 4)]
    packets = [
        lsst_packet(previous=history, forced=forced),
        lsst_packet(previous=history, forced=forced, extendedness=None),
        lsst_packet(previous=history, forced=forced, glint_trail=True),
        lsst_packet(previous=history, forced=forced, isDipole=True, reliability=0.3),
        lsst_packet(previous=[], forced=None, diaObjectId=None, ssObjectId=77),
        lsst_packet(previous=history, forced=None, diaObjectId=None),
        lsst_packet(previous=history, timeWithdrawnMjdTai=60_901.0),
    ]
    batch = assert_equal(decoder, [file_of(packet) for packet in packets], left=0)
    contexts = ["stellar", "stellar", "artefact", "artefact", "solar_system", "stellar", "stellar"]
    assert [str(context) for context in batch.alerts.source_context] == contexts


def test_a_container_of_several_alerts_is_done_whole_or_not_at_all(decoder: Decoder, data_dir: Path) -> None:
    path = data_dir / "alerts/ztf/nocutouts.avro"
    packets = [dict(packet) for packet, _ in zip(read_container_file(path), range(6), strict=False)]
    broken = [*packets[:2], {**packets[2], "candidate": {**packets[2]["candidate"], "ra": -500.0}}]
    values = [one_file(packets[:3], path), one_file(broken, path), one_file(packets[3:], path)]
    batch = assert_equal(decoder, values, left=1)
    assert batch.message.tolist() == [0, 0, 0, 2, 2, 2]


def test_compressed_and_foreign_messages_are_left_over(decoder: Decoder, data_dir: Path) -> None:
    path = data_dir / "alerts/ztf/nocutouts.avro"
    packet = next(iter(read_container_file(path)))
    plain = one_file([packet], path)
    values = [
        b"",
        b"junk",
        plain,
        one_file([packet], path, "deflate"),
        container({"x": 1.0}),
        b"\x00\x00\x00\x03\x84",
        plain,
    ]
    assert assert_equal(decoder, values, left=5).message.tolist() == [2, 6]


def test_no_messages_are_no_alerts(decoder: Decoder) -> None:
    assert len(decoder.decode_batch([], []).alerts) == 0


def mutants(value: bytes, begin: int, rng: np.random.Generator, n: int) -> Iterator[bytes]:
    """Yield a message cut at every byte from `begin` on, and with a few bytes or bits changed there."""
    for end in range(begin, len(value)):
        yield value[:end]
    for _ in range(n):
        changed = bytearray(value)
        for place in rng.integers(begin, len(value), rng.integers(1, 4)).tolist():
            changed[place] = (
                int(rng.integers(256)) if rng.integers(2) else changed[place] ^ 1 << rng.integers(8)
            )
        yield bytes(changed)


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_damaged_bytes_are_left_over_or_mean_the_same(
    survey: str, decoder: Decoder, rng: np.random.Generator
) -> None:
    if survey == "ztf":
        packet = ztf_packet(previous=[ztf_detection(candid=7, jd=2_458_990.0)], forced=[ztf_forced()])
    else:
        packet = lsst_packet(previous=[lsst_source(diaSourceId=3, visit=9)], forced=[lsst_forced()])
    whole = file_of(packet)
    begin = whole.index(whole[-16:])  # the header before it is read by the full reader in any case
    values = [whole, *mutants(whole, begin, rng, 1500), whole]
    batch = decoder.decode_batch(values, places(values))
    assert {0, len(values) - 1} <= set(batch.message.tolist())  # a bad message costs itself only
    alone = one_by_one(decoder, values)
    for number, alert in zip(batch.message.tolist(), batch.each(), strict=True):
        (other,) = cast(list[Alert], alone[number])
        assert everything(alert) == everything(other)
    sound = sum(isinstance(found, list) for found in alone)
    assert len(set(batch.message.tolist())) > 0.8 * sound  # what is sound is rarely left over


def test_what_exceeds_a_limit_is_left_over(decoder: Decoder, data_dir: Path) -> None:
    long = file_of(ztf_packet(previous=[ztf_detection(candid=n, jd=2_458_000.0 + n) for n in range(1, 8)]))
    two = one_file(
        [*read_container_file(data_dir / "alerts/ztf/nocutouts.avro")][:2],
        data_dir / "alerts/ztf/nocutouts.avro",
    )
    short = file_of(ztf_packet())
    values = [short, long, two]
    assert_equal(decoder, values, left=0)
    for limits, done in (
        (Limits(epochs=6), [0]),
        (Limits(message_alerts=1), [0, 1]),
        (Limits(message_bytes=len(short)), [0]),
    ):
        strict = Decoder(schemas=SchemaStore(), adapters=adapters(), limits=limits)
        assert strict.decode_batch(values, places(values)).message.tolist() == done


def test_packets_that_are_decoded_already_give_what_each_gives_alone(
    decoder: Decoder, data_dir: Path
) -> None:
    ztf = [*read_container_file(data_dir / "alerts" / "ztf" / "nocutouts.avro")][::15]
    lsst = [*read_container_file(data_dir / "alerts" / "lsst" / "lsst_v10_0_nocutouts.avro")][::3]
    packets = [packet for pair in zip(ztf, lsst, strict=False) for packet in pair]
    values = [b""] * len(packets)
    read = {number: ReadPacket(packet) for number, packet in enumerate(packets)}
    batch = decoder.decode_batch(values, places(values), packets=read)
    by_message = dict(zip(batch.message.tolist(), batch.each(), strict=True))
    assert len(by_message) > 80
    for number, (packet, place) in enumerate(zip(packets, places(values), strict=True)):
        try:
            (alone,) = decoder.adapt(packet, place)
        except RejectedAlert:
            assert number not in by_message
        else:
            assert everything(by_message[number]) == everything(alone)
