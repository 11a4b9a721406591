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

ROOT = Path(__file__).resolve().parents[3]

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
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found, growth_mb = json.loads(done.stdout)
    assert found == dict.fromkeys(HOSTILE, "too_large")
    assert growth_mb < GROWTH_MAX_MB


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
