# SPDX-License-Identifier: BSD-3-Clause
"""Rates from bytes to a batch: compiled programs against fastavro, both whole and by their parts."""

from __future__ import annotations

import io
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import fastavro
import pytest
from rich.console import Console
from rich.table import Table

from broker_plugin.codec.bulk import BulkReader
from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.limits import DEFAULT_LIMITS
from broker_plugin.codec.packets import decode_message, read_container_file
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.records import AlertBatch, Provenance
from broker_plugin.surveys.registry import adapters
from tests.bench.test_rates import rate
from tests.broker_plugin.codec.test_decode_batch import files_of

pytestmark = [pytest.mark.bench, pytest.mark.usefixtures("rubin_schemas")]

BATCH = 256

LONG = 400
"""Rows of history from which on a Rubin alert counts as long; those in the sample have 740 to 2173."""

DECODE_MIN = {"ztf_native": 30.0, "lsst_long": 30.0, "lsst_short": 10.0}
"""What bytes to columns has to gain over fastavro. A short history is over before fastavro has lost much."""

WHOLE_MIN = 20.0
"""What bytes to a batch has to gain, or the compiled reader has lost its point."""

NOISE = 0.9
"""One run differs from the next by as much: ZTF's gain is 31 and not far from what it has to be."""


def ztf_native(data_dir: Path) -> list[bytes]:
    """Return real packets with their cutouts, of the schema that most of them have: as in a night."""
    values = [path.read_bytes() for path in sorted((data_dir / "alerts/ztf/native").glob("*.avro"))]
    heads = [
        value[: value.index(b'"name": "objectId"') if b'"name": "objectId"' in value else 2000]
        for value in values
    ]
    most = max(heads, key=heads.count)
    same = [value for value, head in zip(values, heads, strict=True) if head == most]
    return (same * BATCH)[:BATCH]


def lsst_long(data_dir: Path) -> list[bytes]:
    schema = SchemaStore().writer_schema(1000).parsed
    values = []
    for packet in read_container_file(data_dir / "alerts/lsst/lsst_v10_0_nocutouts.avro"):
        rows = sum(len(packet[name] or ()) for name in ("prvDiaSources", "prvDiaForcedSources"))
        if rows >= LONG:
            buffer = io.BytesIO()
            fastavro.schemaless_writer(buffer, schema, packet)
            values.append(struct.pack(">bI", 0, 1000) + buffer.getvalue())
    return values


def lsst_short(data_dir: Path) -> list[bytes]:
    path = data_dir / "alerts/lsst/lsst_v9_0_nocutouts.avro"
    return files_of(list(read_container_file(path)), path)


@pytest.mark.parametrize("corpus", [ztf_native, lsst_long, lsst_short])
def test_from_bytes_to_a_batch(corpus: object, data_dir: Path) -> None:
    values: Sequence[bytes] = corpus(data_dir)  # type: ignore[operator]
    n = len(values)
    store = SchemaStore()
    decoder = Decoder(schemas=store, adapters=adapters())
    reader = BulkReader(schema_of=store.writer_schema, adapters=adapters(), limits=DEFAULT_LIMITS)
    places = [Provenance(topic="bench", offset=number) for number in range(n)]
    packets = [decode_message(value, schema_of=store.writer_schema).packets[0] for value in values]
    assert len(decoder.decode_batch(values, places).alerts) == n

    def one_by_one() -> None:
        found = [alert for v, p in zip(values, places, strict=True) for alert in decoder.decode(v, p)]
        AlertBatch.from_alerts(found)

    rates = {
        "fastavro: packets": rate(
            lambda: [decode_message(v, schema_of=store.writer_schema) for v in values], n
        ),
        "compiled: columns": rate(lambda: list(reader.read(values)), n),
        "adapt packets one by one": rate(lambda: [decoder.adapt(packet, places[0]) for packet in packets], n),
        "fastavro: bytes to batch": rate(one_by_one, n),
        "compiled: bytes to batch": rate(lambda: decoder.decode_batch(values, places), n),
    }
    decode = rates["compiled: columns"] / rates["fastavro: packets"]
    whole = rates["compiled: bytes to batch"] / rates["fastavro: bytes to batch"]
    name = getattr(corpus, "__name__", "")
    table = Table(
        "stage", "alerts/s of one core", title=f"{name}: {n} messages of {sum(map(len, values)) // n} bytes"
    )
    for stage, value in rates.items():
        table.add_row(stage, f"{value:,.0f}")
    table.add_row("gain in decoding, on the whole", f"{decode:.1f}, {whole:.1f}")
    Console(width=100).print(table)
    assert decode > NOISE * DECODE_MIN[name]
    assert whole > NOISE * WHOLE_MIN


def test_two_threads_decode_at_once(data_dir: Path) -> None:
    """The GIL is free while the machine runs: two threads need less than twice the time of one."""
    values = lsst_long(data_dir)
    store = SchemaStore()
    reader = BulkReader(schema_of=store.writer_schema, adapters=adapters(), limits=DEFAULT_LIMITS)
    list(reader.read(values))

    def seconds(n_threads: int) -> float:
        threads = [threading.Thread(target=lambda: list(reader.read(values))) for _ in range(n_threads)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - begun

    one, two = (min(seconds(n) for _ in range(5)) for n in (1, 2))
    Console().print(f"two threads / one: {two / one:.2f} times the time for twice the work")
    assert two < 1.9 * one
