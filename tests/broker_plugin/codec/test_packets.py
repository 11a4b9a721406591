# SPDX-License-Identifier: BSD-3-Clause
"""Bytes become packets or rejections, in bounded time and memory; never anything else."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker_plugin.codec.limits import Limits
from broker_plugin.codec.packets import (
    CONTAINER_MAGIC,
    ContainerReader,
    decode_datum,
    decode_message,
    is_container,
    read_container_file,
)
from broker_plugin.codec.writer_schema import WriterSchema, vet
from broker_plugin.errors import RejectedAlert, RejectReason

RECORD = {
    "type": "record",
    "name": "alert",
    "namespace": "survey.v1_2",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "name", "type": ["null", "string"], "default": None},
        {"name": "flux", "type": {"type": "array", "items": "double"}},
    ],
}
SCHEMA = vet(RECORD)
RECORDS = [{"id": i, "name": None if i % 2 else f"n{i}", "flux": [float(i)] * i} for i in range(20)]
PROMPTLY_S = 5.0
"""Far above what a rejection takes (milliseconds), far below what a bomb takes (forever)."""


def no_registry(schema_id: int) -> WriterSchema:
    raise RejectedAlert(RejectReason.UNKNOWN_SCHEMA, f"no schema {schema_id}")


def known_id(schema_id: int) -> WriterSchema:
    return SCHEMA


def container(records: list[dict[str, Any]], codec: str = "null", interval: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    fastavro.writer(buffer, RECORD, records, codec=codec, sync_interval=interval)
    return buffer.getvalue()


def zigzag(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    encoded = bytearray()
    while value & ~0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def crafted(schema: Any, block: bytes, *, count: int = 1, codec: str = "null", text: bytes = b"") -> bytes:
    """Return a container file of one block, of whatever is wanted."""
    text = text or json.dumps(schema).encode()
    header = zigzag(2)
    for key, value in ((b"avro.schema", text), (b"avro.codec", codec.encode())):
        header += zigzag(len(key)) + key + zigzag(len(value)) + value
    sync = bytes(range(16))
    return CONTAINER_MAGIC + header + zigzag(0) + sync + zigzag(count) + zigzag(len(block)) + block + sync


def read_all(
    read: Callable[[], Iterable[Mapping[str, Any]]],
) -> tuple[list[Mapping[str, Any]], RejectedAlert | None]:
    """Return the packets before the first defect, and the defect."""
    packets: list[Mapping[str, Any]] = []
    try:
        packets.extend(read())
    except RejectedAlert as rejection:
        return packets, rejection
    return packets, None


def reason_of(value: bytes, schema_of: Callable[[int], WriterSchema] = known_id) -> RejectReason:
    started = time.monotonic()
    with pytest.raises(RejectedAlert) as rejected:
        decode_message(value, schema_of=schema_of)
    assert time.monotonic() - started < PROMPTLY_S
    return rejected.value.reason


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_containers_hold_what_fastavro_wrote(codec: str) -> None:
    decoded = decode_message(container(RECORDS, codec), schema_of=no_registry)
    assert list(decoded.packets) == RECORDS
    assert decoded.schema == "survey.v1_2"


@pytest.mark.parametrize("codec", ["zstandard", "snappy"])
def test_containers_of_other_codecs_hold_what_arrow_wrote(codec: str) -> None:
    import pyarrow as pa

    plain = b"".join(datum(record) for record in RECORDS)
    if codec == "snappy":
        block = bytes(pa.Codec("snappy").compress(plain)) + zlib.crc32(plain).to_bytes(4, "big")
    else:
        block = bytes(pa.Codec("zstd").compress(plain))
    value = crafted(RECORD, block, count=len(RECORDS), codec=codec)
    assert list(decode_message(value, schema_of=no_registry).packets) == RECORDS
    assert reason_of(value[:-30] + bytes([value[-30] ^ 0xFF]) + value[-29:]) is RejectReason.UNDECODABLE


def datum(record: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, RECORD, record)
    return buffer.getvalue()


def test_framed_messages_hold_what_fastavro_wrote() -> None:
    asked = []

    def schema_of(schema_id: int) -> WriterSchema:
        asked.append(schema_id)
        return SCHEMA

    decoded = decode_message(struct.pack(">bI", 0, 900) + datum(RECORDS[4]), schema_of=schema_of)
    assert decoded.packets == (RECORDS[4],)
    assert asked == [900]


def test_an_empty_message_is_empty() -> None:
    assert reason_of(b"") is RejectReason.EMPTY


def test_a_container_without_records_is_empty() -> None:
    assert reason_of(container([])) is RejectReason.EMPTY


def test_a_huge_message_is_too_large_before_it_is_looked_at() -> None:
    junk = np.random.default_rng(0).bytes(50_000_000)
    for start in (b"", CONTAINER_MAGIC, b"\0"):
        assert reason_of(start + junk, no_registry) is RejectReason.TOO_LARGE


def test_the_limit_is_on_messages_not_on_what_is_configured_to_be_larger() -> None:
    value = container(RECORDS)
    assert decode_message(value, schema_of=no_registry, limits=Limits(message_bytes=len(value))).packets
    with pytest.raises(RejectedAlert, match="raise limits") as rejected:
        decode_message(value, schema_of=no_registry, limits=Limits(message_bytes=len(value) - 1))
    assert rejected.value.reason is RejectReason.TOO_LARGE


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_every_truncation_is_rejected(codec: str) -> None:
    value = container(RECORDS, codec)
    # The shortest are too short to be told apart from other junk, but junk they are.
    for length in range(1, len(value)):
        assert reason_of(value[:length]) in (RejectReason.UNDECODABLE, RejectReason.EMPTY)


def test_only_the_header_alone_is_an_empty_container() -> None:
    value = container(RECORDS)
    empty = [n for n in range(1, len(value)) if reason_of(value[:n]) is RejectReason.EMPTY]
    assert empty == [len(container([]))]


def test_every_truncation_of_a_framed_message_is_rejected() -> None:
    value = struct.pack(">bI", 0, 1) + datum(RECORDS[6])
    for length in range(1, len(value)):
        assert reason_of(value[:length]) is RejectReason.UNDECODABLE


@pytest.mark.parametrize("tail", [b"\0", b"x", b"\0\0\0\0\0", b"junk" * 10])
def test_trailing_bytes_are_rejected(tail: bytes) -> None:
    assert reason_of(container(RECORDS) + tail) is RejectReason.UNDECODABLE
    assert reason_of(struct.pack(">bI", 0, 1) + datum(RECORDS[6]) + tail) is RejectReason.UNDECODABLE


@given(st.binary(max_size=200))
def test_random_bytes_are_rejected(value: bytes) -> None:
    with pytest.raises(RejectedAlert):
        decode_message(value, schema_of=no_registry)


@given(st.binary(max_size=100))
def test_random_bytes_behind_a_known_id_are_a_record_or_rejected(junk: bytes) -> None:
    packets, rejection = read_all(lambda: decode_message(b"\0\0\0\0\1" + junk, schema_of=known_id).packets)
    if rejection is None:
        assert [set(packet) for packet in packets] == [{"id", "name", "flux"}]
    else:
        assert rejection.reason is RejectReason.UNDECODABLE
        assert rejection.access is None


@given(st.binary(max_size=300))
def test_random_bytes_behind_the_magic_are_rejected(junk: bytes) -> None:
    assert reason_of(CONTAINER_MAGIC + junk) is RejectReason.UNDECODABLE


@settings(max_examples=300)
@given(data=st.data())
def test_damaged_real_packets_are_packets_or_rejected(data: st.DataObject, data_dir: Path) -> None:
    paths = [
        data_dir / "alerts/ztf/native/1000151433015015013.avro",
        data_dir / "alerts/lsst/raw/fink-broker_v9_0/169298432598474793_169298432598474793.avro",
    ]
    value = bytearray(data.draw(st.sampled_from(paths)).read_bytes())
    # Mostly where damage does something: in the schema and in the first kilobytes of the record.
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, min(len(value) - 1, 60_000)))
        value[position] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_message(bytes(value), schema_of=no_registry)
    except RejectedAlert:
        return
    assert all(isinstance(packet, dict) for packet in decoded.packets)


def record_of(kind: Any) -> dict[str, Any]:
    return {"type": "record", "name": "r", "fields": [{"name": "x", "type": kind}]}


NESTED: dict[str, Any] = {"type": "record", "name": "r", "fields": [{"name": "x", "type": ["null", "r"]}]}
BOMBS = {
    "2**60 nulls": crafted(record_of({"type": "array", "items": "null"}), zigzag(2**60) + zigzag(0)),
    "2**60 empty records": crafted(
        record_of({"type": "array", "items": {"type": "record", "name": "e", "fields": []}}), zigzag(2**60)
    ),
    "2**60 records of nulls": crafted(
        record_of({"type": "array", "items": record_of("null") | {"name": "e"}}), zigzag(2**60)
    ),
    "2**60 fixed of no size": crafted(
        record_of({"type": "array", "items": {"type": "fixed", "name": "f", "size": 0}}), zigzag(2**60)
    ),
    "2**60 numbers": crafted(record_of({"type": "array", "items": "long"}), zigzag(2**60)),
    "a block that says -2**60": crafted(
        record_of({"type": "array", "items": "long"}), zigzag(-(2**60)) + zigzag(9)
    ),
    "a string of 2**60": crafted(record_of("string"), zigzag(2**60)),
    "bytes of -1": crafted(record_of("bytes"), zigzag(-1) + b"abc"),
    "bytes of -2**60": crafted(record_of("bytes"), zigzag(-(2**60)) + b"abc"),
    "2**60 records in a block": crafted(record_of("long"), b"\0\0", count=2**60),
    "-1 records in a block": crafted(record_of("long"), b"\0\0", count=-1),
    "a type within itself": crafted(NESTED, b"\2" * 1_000_000 + b"\0"),
    "an array within itself": crafted(
        record_of({"type": "array", "items": "r"}), b"\2" * 1_000_000 + b"\0" * 1_000_000
    ),
    "a schema of brackets": crafted(None, b"", text=b"[" * 500_000),
    "a schema of arrays": crafted(
        None, b"", text=b'{"type":"array","items":' * 30_000 + b'"int"' + b"}" * 30_000
    ),
    "a schema of types in types": crafted(None, b"", text=b'{"type":' * 90_000 + b'"int"' + b"}" * 90_000),
    "a schema too long": crafted(None, b"", text=json.dumps({"doc": "x" * 2_000_000, **RECORD}).encode()),
    "a schema that is a number": crafted(7, b""),
    "a schema that is a string": crafted("string", zigzag(3) + b"abc"),
    "a schema of an unknown type": crafted(record_of("elsewhere"), b"\0"),
    "a header of 2**60 entries": CONTAINER_MAGIC + zigzag(2**60),
    "a header entry of 2**60": CONTAINER_MAGIC + zigzag(1) + zigzag(2**60) + b"abc",
    "an endless integer": CONTAINER_MAGIC + b"\xff" * 100,
    "deflated zeros": crafted(
        record_of("bytes"), zlib.compress(bytes(200_000_000), 9)[2:-4], codec="deflate"
    ),
    "an unknown codec": crafted(record_of("long"), b"\0", codec="lzma9000"),
    "damaged deflate": crafted(record_of("long"), b"\xff\xff\xff", codec="deflate"),
    "damaged zstandard": crafted(record_of("long"), b"\xff\xff\xff", codec="zstandard"),
    "snappy that says 2**31": crafted(record_of("long"), b"\xff\xff\xff\xff\x07abcd", codec="snappy"),
    "text that is not UTF-8": crafted(record_of("string"), zigzag(2) + b"\xff\xfe"),
    "a union branch that is not there": crafted(record_of(["null", "int"]), zigzag(9)),
    "an enum symbol that is not there": crafted(
        record_of({"type": "enum", "name": "e", "symbols": ["A"]}), zigzag(9)
    ),
}


OPENED_TOO_LARGE = (BOMBS["deflated zeros"], BOMBS["snappy that says 2**31"])
"""Those whose compressed block holds more than a message may."""


@pytest.mark.parametrize("value", BOMBS.values(), ids=BOMBS)
def test_bombs_do_not_go_off(value: bytes) -> None:
    tracemalloc.start()
    try:
        expected = RejectReason.TOO_LARGE if value in OPENED_TOO_LARGE else RejectReason.UNDECODABLE
        assert reason_of(value) is expected
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The schema's text and the block are held a few times over; a bomb would take gigabytes.
    assert peak < 100_000_000


@pytest.mark.parametrize(
    "name",
    ["a header entry of 2**60", "a header of 2**60 entries", "2**60 records in a block", "a string of 2**60"],
)
def test_bombs_do_not_go_off_on_disk_either(tmp_path: Path, name: str) -> None:
    # A file may hold more than a message, and reading asks the system for what a length says.
    path = tmp_path / "bomb.avro"
    path.write_bytes(BOMBS[name])
    packets, rejection = read_all(lambda: read_container_file(path))
    assert len(packets) <= 2
    assert rejection is not None
    path.write_bytes(crafted(RECORD, b"").replace(zigzag(1) + zigzag(0), zigzag(1) + zigzag(2**60)))
    assert read_all(lambda: read_container_file(path))[1] is not None


def test_a_byte_costs_at_most_the_memory_that_its_limit_is_built_on() -> None:
    # One small record a byte is the most that bytes can become. Measured in a process of its own, since
    # memory that this one once had does not come back.
    code = """
import psutil
from tests.broker_plugin.codec.test_packets import crafted, record_of, zigzag
from broker_plugin.codec.packets import decode_message
n = 900_000
item = record_of(["null", "int"]) | {"name": "e"}
value = crafted(record_of({"type": "array", "items": item}), zigzag(n) + bytes(n) + zigzag(0))
before = psutil.Process().memory_info().rss
packet, = decode_message(value, schema_of=None).packets
assert len(packet["x"]) == n
print((psutil.Process().memory_info().rss - before) / n)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 50 < float(done.stdout) < 300  # a dictionary of one key and its place in a list: 200 bytes


def test_details_quote_nothing_of_the_message() -> None:
    for value in BOMBS.values():
        with pytest.raises(RejectedAlert) as rejected:
            decode_message(value, schema_of=known_id)
        assert not {"abc", "\\x", "elsewhere", "lzma9000"} & set(rejected.value.detail.split())


def test_files_are_read_block_by_block(tmp_path: Path) -> None:
    path = tmp_path / "many.avro"
    path.write_bytes(container(RECORDS, interval=1))  # a block for each record
    assert list(read_container_file(path)) == RECORDS


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_a_corrupt_block_costs_nothing_before_it(tmp_path: Path, codec: str) -> None:
    value = container(RECORDS, codec, interval=1)
    ends = [len(container(RECORDS[:n], codec, interval=1)) for n in range(1, len(RECORDS) + 1)]
    path = tmp_path / "damaged.avro"
    rejections = 0
    for position in range(len(container([], codec)), len(value), 7):
        path.write_bytes(value[:position] + bytes([value[position] ^ 0xFF]) + value[position + 1 :])
        whole = sum(end <= position for end in ends)
        packets, rejection = read_all(lambda: read_container_file(path))
        assert packets[:whole] == RECORDS[:whole]
        if rejection is not None:
            rejections += 1
            assert rejection.reason is RejectReason.UNDECODABLE
            assert f"record {len(packets)}:" in rejection.detail
    assert rejections > 40  # the others flipped a bit of a number, which only its reader could know


def test_a_file_that_ends_early_yields_what_is_whole(tmp_path: Path) -> None:
    value = container(RECORDS, interval=1)
    path = tmp_path / "short.avro"
    path.write_bytes(value[:-20])
    packets, rejection = read_all(lambda: read_container_file(path))
    assert packets == RECORDS[:-1]
    assert rejection is not None
    assert "record 19" in rejection.detail


def test_a_container_is_told_without_moving_in_the_file() -> None:
    cut = (b"Ob", True)  # in its first bytes, and nothing else begins so
    for content, expected in (
        (container(RECORDS), True),
        cut,
        (b"Oh", False),
        (b"", False),
        (b"\0" * 9, False),
    ):
        source = io.BytesIO(content)
        assert is_container(source) is expected
        assert source.tell() == 0


def test_a_reader_names_the_version_before_any_packet() -> None:
    reader = ContainerReader(io.BytesIO(container(RECORDS)))
    assert reader.schema == "survey.v1_2"
    assert reader.writer_schema.name == "survey.v1_2.alert"


def test_bare_data_must_be_one_whole_record() -> None:
    assert decode_datum(datum(RECORDS[3]), SCHEMA) == RECORDS[3]
    with pytest.raises(RejectedAlert):
        decode_datum(datum(RECORDS[3]) * 2, SCHEMA)


def test_real_packets_decode_as_with_fastavro(data_dir: Path) -> None:
    for path in sorted((data_dir / "alerts/ztf/native").glob("*.avro"))[::10]:
        value = path.read_bytes()
        assert list(decode_message(value, schema_of=no_registry).packets) == list(
            fastavro.reader(io.BytesIO(value))
        )


def test_logical_types_are_left_as_numbers() -> None:
    # A date beyond the calendar must not cost an alert whose light curve is fine.
    schema = record_of({"type": "long", "logicalType": "timestamp-micros"})
    (packet,) = decode_message(crafted(schema, zigzag(2**62)), schema_of=no_registry).packets
    assert packet == {"x": 2**62}
