# SPDX-License-Identifier: BSD-3-Clause
"""Packets of archives as messages: nothing is changed but what is said to be."""

from __future__ import annotations

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.benchmark.messages import (
    ContainerForm,
    FramedForm,
    history_rows,
    read_data,
    thinned,
)
from broker_plugin.codec.packets import decode_message
from broker_plugin.codec.writer_schema import vet
from broker_plugin.errors import ConfigurationError

SCHEMA = {
    "type": "record",
    "name": "alert",
    "namespace": "lsst.v9_9",
    "fields": [
        {"name": "diaSourceId", "type": "long"},
        {"name": "about", "type": ["null", "string"]},
    ],
}

PACKETS = [{"diaSourceId": number, "about": "x" * number if number % 2 else None} for number in range(1, 40)]

HISTORIES = ("prvDiaSources", "prvDiaForcedSources")


def no_schema(number: int) -> object:
    raise AssertionError(number)


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_records_are_taken_out_of_a_file_as_they_were_written(tmp_path, codec: str) -> None:
    path = tmp_path / "alerts.avro"
    with path.open("wb") as target:
        fastavro.writer(target, SCHEMA, PACKETS, codec=codec, sync_interval=100)
    schema, data = read_data(path)
    found = list(data)
    assert [packet for _, packet in found] == PACKETS
    container, framed = ContainerForm(schema), FramedForm(schema, 909)
    for datum, packet in found:
        own = decode_message(container.message(datum), schema_of=no_schema)
        assert own.packets == (packet,)
        assert decode_message(framed.message(datum), schema_of=lambda _: vet(SCHEMA)).packets == (packet,)
        assert framed.written(packet) == framed.message(datum)
        assert container.read(datum) == packet


def test_a_file_that_is_none_is_named(tmp_path) -> None:
    path = tmp_path / "alerts.avro"
    path.write_bytes(b"no avro")
    with pytest.raises(ConfigurationError, match=r"alerts\.avro"):
        read_data(path)


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_a_file_that_is_cut_is_named_when_its_end_is_read(tmp_path, codec: str) -> None:
    path = tmp_path / "alerts.avro"
    with path.open("wb") as target:
        fastavro.writer(target, SCHEMA, PACKETS, codec=codec, sync_interval=100)
    whole = path.read_bytes()
    for length in range(len(whole) - 1, len(whole) // 2, -7):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigurationError, match=r"alerts\.avro"):
            list(read_data(path)[1])


def test_a_file_of_no_records_is_refused(tmp_path) -> None:
    path = tmp_path / "numbers.avro"
    with path.open("wb") as target:
        fastavro.writer(target, {"type": "long"}, [1, 2])
    with pytest.raises(ConfigurationError, match=r"numbers\.avro holds no records"):
        read_data(path)


rows_of_a_history = st.lists(st.floats(50_000, 70_000).map(lambda t: {"midpointMjdTai": t}), max_size=60)


@given(rows_of_a_history, st.none() | rows_of_a_history, st.integers(2, 40))
def test_thinning_keeps_order_span_and_number(sources, forced, rows: int) -> None:
    packet = {"diaSourceId": 1, "prvDiaSources": sources, "prvDiaForcedSources": forced}
    cut = thinned(packet, HISTORIES, rows)
    assert history_rows(cut, HISTORIES) == min(rows, history_rows(packet, HISTORIES))
    assert cut["diaSourceId"] == 1
    for name in HISTORIES:
        left = iter(packet[name] or ())
        assert all(any(row is other for other in left) for row in cut[name] or ()), "order is kept"
    times, before = (
        [row["midpointMjdTai"] for name in HISTORIES for row in each[name] or ()] for each in (cut, packet)
    )
    if before:
        assert (min(times), max(times)) == (min(before), max(before))
