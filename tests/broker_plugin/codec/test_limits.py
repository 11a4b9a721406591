# SPDX-License-Identifier: BSD-3-Clause
"""What is too much for one message is a dead letter in bounded memory, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.limits import Limits
from broker_plugin.codec.packets import decode_message
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.errors import RejectedAlert, RejectReason
from broker_plugin.records import Provenance
from broker_plugin.surveys.registry import adapters
from tests.broker_plugin.codec.test_packets import crafted, no_registry, record_of, zigzag
from tests.broker_plugin.surveys.packets import lsst_packet, ztf_packet
from tests.support.artefacts import REPOSITORY

MEGABYTE = 1_000_000

GROWTH_MAX_MB = 350
"""A message's bytes a few times over, and 200 bytes for each of a million values."""


def one_byte_items() -> Any:
    return record_of({"type": "array", "items": record_of(["null", "int"]) | {"name": "e"}})


def framed_items(n: int) -> bytes:
    """An array of n records of one byte each."""
    return zigzag(n) + bytes(n) + zigzag(0)


def compressed(content: bytes, codec: str) -> bytes:
    if codec == "deflate":
        return zlib.compress(content, 9)[2:-4]
    block = bytes(pa.Codec({"zstandard": "zstd"}.get(codec, codec)).compress(content))
    return block + zlib.crc32(content).to_bytes(4, "big") if codec == "snappy" else block


def hostile(name: str) -> bytes:
    """Messages that would take gigabytes."""
    items = framed_items(9 * MEGABYTE)
    match name.split():
        case ["items"]:
            return crafted(one_byte_items(), items)
        case ["items", codec]:
            return crafted(one_byte_items(), compressed(items, codec), codec=codec)
        case ["zeros", codec]:
            # Two blocks of which each is within the limits of a message.
            return crafted(record_of("bytes"), compressed(bytes(300 * MEGABYTE), codec), codec=codec)
        case ["alerts"]:
            return crafted(record_of("int"), bytes(9 * MEGABYTE), count=9 * MEGABYTE)
        case ["map"]:
            entry = zigzag(1) + b"k" + zigzag(0)
            return crafted(
                record_of({"type": "map", "values": "int"}),
                zigzag(3 * MEGABYTE) + entry * 3 * MEGABYTE + b"\0",
            )
        case ["blocks"]:
            block = (zigzag(1) + b"\0") * 4 * MEGABYTE
            return crafted(one_byte_items(), block + zigzag(0))
    raise AssertionError(name)


HOSTILE = (
    *("items", "items deflate", "items zstandard", "items snappy", "zeros deflate", "zeros zstandard"),
    *("zeros snappy", "alerts", "map", "blocks"),
)


def test_what_would_take_gigabytes_is_too_large_in_bounded_memory(tmp_path: Path) -> None:
    # Made here and read there: making them takes the memory that decoding them must not.
    for name in HOSTILE:
        (tmp_path / name).write_bytes(hostile(name))
    code = """
import json, sys
from pathlib import Path
from broker_plugin.codec.packets import decode_message
from broker_plugin.errors import RejectedAlert
import pyarrow
from tests.support.memory import peak_mb
before = peak_mb()
found = {}
for path in Path(sys.argv[1]).iterdir():
    try:
        found[path.name] = repr(decode_message(path.read_bytes(), schema_of=None).packets[0])[:50]
    except RejectedAlert as rejection:
        found[path.name] = str(rejection.reason)
print(json.dumps([found, peak_mb() - before]))
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found, growth_mb = json.loads(done.stdout)
    assert found == dict.fromkeys(HOSTILE, "too_large")
    assert growth_mb < GROWTH_MAX_MB


def batch_of(name: str) -> bytes:
    """Messages that are small as they come, within every limit on bytes, and large when they are decoded."""
    maps = {"type": "array", "items": {"type": "map", "values": "int"}}
    match name:
        case "foreign":
            return crafted(record_of(maps), compressed(framed_items(990_000), "deflate"), codec="deflate")
        case "known":
            fields = [{"name": "objectId", "type": maps}, {"name": "candidate", "type": "int"}]
            block = compressed(framed_items(990_000) + zigzag(1), "deflate")
            schema = {"type": "record", "name": "alert", "namespace": "ztf", "fields": fields}
            return crafted(schema, block, codec="deflate")
        case "damaged":  # of a survey's form, and rejected when much of it has been decoded
            fields = [{"name": "objectId", "type": "bytes"}, {"name": "candidate", "type": "int"}]
            block = compressed(zigzag(9 * MEGABYTE) + bytes(9 * MEGABYTE), "deflate")
            schema = {"type": "record", "name": "alert", "namespace": "ztf", "fields": fields}
            return crafted(schema, block, codec="deflate")
    raise AssertionError(name)


BATCH_GROWTH_MAX_MB = 200
"""That of one message, some of which the allocator keeps. Kept until they are sent, 256 took gigabytes."""

BATCH_S = 60.0
"""Some seconds on a free core. Decoded to the end, the batches took minutes."""


def test_a_batch_of_small_messages_of_many_values_is_rejected_in_bounded_time_and_memory(
    tmp_path: Path,
) -> None:
    names = ("foreign", "known", "damaged")
    for name in names:
        (tmp_path / name).write_bytes(batch_of(name))
        assert (tmp_path / name).stat().st_size < 12_000
    code = """
import json, sys, time
from pathlib import Path
from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.pipeline.filter import AlertFilter
from broker_plugin.streams.base import Message
from broker_plugin.surveys.registry import adapters
from tests.support.memory import peak_mb

class NoScorer:
    def score(self, alerts, **_):
        return []

judge = AlertFilter(Decoder(schemas=SchemaStore(), adapters=adapters()), NoScorer()).judge
message = lambda number, value: Message(topic="t", partition=0, offset=number, value=value)
judge([message(0, b"junk")])
found = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    before, begun = peak_mb(), time.monotonic()
    judged = judge([message(number, path.read_bytes()) for number in range(256)])
    reasons = sorted({str(judgement.rejection.reason) for judgement in judged})
    found[path.name] = [reasons, time.monotonic() - begun, peak_mb() - before]
print(json.dumps(found))
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {name: reasons for name, (reasons, _, _) in found.items()} == {
        "foreign": ["missing_field"],
        "known": ["too_large"],
        "damaged": ["undecodable"],
    }
    assert max(growth_mb for _, _, growth_mb in found.values()) < BATCH_GROWTH_MAX_MB, found
    assert max(seconds for _, seconds, _ in found.values()) < BATCH_S, found


def test_a_record_of_something_else_is_not_decoded() -> None:
    decoder = Decoder(schemas=SchemaStore(), adapters=adapters())
    provenance = Provenance(topic="t")
    with pytest.raises(RejectedAlert, match="not an alert of: ztf, lsst") as rejected:
        decoder.decode(crafted(record_of("int"), b"no Avro at all"), provenance)
    assert rejected.value.foreign
    assert rejected.value.access is None  # nobody knows whose it is
    # Whatever a survey may have made of its alerts is looked at.
    fields = [{"name": "objectId", "type": "string"}]
    with pytest.raises(RejectedAlert, match="do not follow their schema"):
        decoder.decode(crafted({**record_of("int"), "fields": fields}, b"\xff\xff"), provenance)


def test_values_are_limited_by_the_bytes_that_a_message_came_with() -> None:
    limits = Limits(message_values=1_000_000)

    def decoded(n_values: int) -> int:
        value = crafted(one_byte_items(), compressed(framed_items(n_values), "deflate"), codec="deflate")
        assert len(value) < 2_000
        return len(decode_message(value, schema_of=no_registry, limits=limits).packets)

    assert decoded(40_000) == 1
    with pytest.raises(RejectedAlert, match="than its bytes") as rejected:
        decoded(100_000)
    assert rejected.value.reason is RejectReason.TOO_LARGE


def test_values_are_counted_over_all_blocks_and_records() -> None:
    block = framed_items(300)
    value = crafted(one_byte_items(), block * 3, count=3)
    size = len(block * 3)
    assert (
        len(decode_message(value, schema_of=no_registry, limits=Limits(message_values=size + 9)).packets) == 3
    )
    with pytest.raises(RejectedAlert, match="more values") as rejected:
        decode_message(value, schema_of=no_registry, limits=Limits(message_values=500))
    assert rejected.value.reason is RejectReason.TOO_LARGE


def test_more_alerts_than_the_limit_are_too_many() -> None:
    value = crafted(record_of("int"), bytes(5), count=5)
    assert len(decode_message(value, schema_of=no_registry, limits=Limits(message_alerts=5)).packets) == 5
    with pytest.raises(RejectedAlert, match=r"limits\.message_alerts"):
        decode_message(value, schema_of=no_registry, limits=Limits(message_alerts=4))


@pytest.mark.parametrize(
    ("packet", "path"),
    [(ztf_packet(), "prv_candidates"), (ztf_packet(), "fp_hists"), (lsst_packet(), "prvDiaForcedSources")],
)
def test_a_history_longer_than_the_limit_is_too_large(packet: dict[str, Any], path: str) -> None:
    def decoder(epochs: int) -> Decoder:
        return Decoder(schemas=SchemaStore(), adapters=adapters(), limits=Limits(epochs=epochs))

    long = {**packet, "prv_candidates": None, "fp_hists": None, "prvDiaSources": None, path: [{}] * 50}
    assert decoder(50).adapt(long, Provenance(topic="t"))
    with pytest.raises(RejectedAlert, match=r"limits\.epochs") as rejected:
        decoder(49).adapt(long, Provenance(topic="t"))
    assert rejected.value.reason is RejectReason.TOO_LARGE
