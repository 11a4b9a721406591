# SPDX-License-Identifier: BSD-3-Clause
"""Compiled programs read of any schema and any record what fastavro reads, and never outside the bytes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker_plugin.codec.machine import run_segments
from broker_plugin.codec.matrices import Matrices
from broker_plugin.codec.program import UnsupportedSchemaError, compile_schema
from broker_plugin.codec.writer_schema import WriterSchema, vet
from broker_plugin.surveys.columns import Coded, Columns, Layout, PacketColumns, columns_of_packets
from broker_plugin.surveys.fields import Field, Kind, RecordTable

PRIMITIVES = ("boolean", "int", "long", "float", "double", "bytes", "string")
ASCII = st.characters(max_codepoint=127)


class Names:
    """Gives out names that are not used yet."""

    def __init__(self) -> None:
        self.n = 0

    def new(self) -> str:
        self.n += 1
        return f"n{self.n}"


def types(names: Names, depth: int = 0) -> st.SearchStrategy[Any]:
    plain = st.sampled_from(PRIMITIVES)
    some = [
        plain,
        plain.map(lambda kind: ["null", kind]),
        plain.map(lambda kind: [kind, "null"]),
        st.lists(
            st.sampled_from(["null", "boolean", "long", "double", "string", "bytes"]), min_size=1, unique=True
        ),
        st.integers(1, 9).map(lambda size: {"type": "fixed", "name": names.new(), "size": size}),
        st.integers(1, 70).map(
            lambda n: {"type": "enum", "name": names.new(), "symbols": [f"s{k}" for k in range(n)]}
        ),
    ]
    if depth < 2:
        inner = st.deferred(lambda: types(names, depth + 1))
        some += [
            inner.map(lambda kind: {"type": "array", "items": kind}),
            inner.map(lambda kind: {"type": "map", "values": kind}),
            st.lists(inner, min_size=1, max_size=3).map(lambda kinds: record(names, kinds)),
            st.lists(inner, min_size=1, max_size=3).map(lambda kinds: ["null", record(names, kinds)]),
        ]
    return st.one_of(some)


def record(names: Names, kinds: list[Any]) -> dict[str, Any]:
    fields = [{"name": f"f{place}", "type": kind} for place, kind in enumerate(kinds)]
    return {"type": "record", "name": names.new(), "fields": fields}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return values of a type."""
    if isinstance(kind, list):
        return st.one_of([values(branch) for branch in kind])
    if isinstance(kind, str):
        return {
            "null": st.none(),
            "boolean": st.booleans(),
            "int": st.integers(-(2**31), 2**31 - 1),
            "long": st.one_of(st.integers(-3, 300), st.integers(-(2**63), 2**63 - 1)),
            "float": st.floats(width=32),
            "double": st.one_of(st.floats(), st.just(-999.0)),
            "bytes": st.binary(max_size=9),
            "string": st.one_of(
                st.sampled_from(["r", "null", ""]), st.text(ASCII, max_size=9), st.text(max_size=2)
            ),
        }[kind]
    name = kind["type"]
    if name == "record":
        return st.fixed_dictionaries({member["name"]: values(member["type"]) for member in kind["fields"]})
    if name == "array":
        return st.lists(values(kind["items"]), max_size=3)
    if name == "map":
        return st.dictionaries(st.text(ASCII, max_size=3), values(kind["values"]), max_size=3)
    if name == "fixed":
        return st.binary(min_size=kind["size"], max_size=kind["size"])
    return st.sampled_from(kind["symbols"])


def table(path: str, kinds: list[Kind]) -> RecordTable:
    """Return a table of the first fields of a record; more fields than it has are absent."""
    fields = [
        Field(
            name=f"our_{place}",
            path=f"f{place}",
            kind=kind,
            sentinels=(-999.0,) if kind is Kind.NUMBER else (),
        )
        for place, kind in enumerate(kinds)
    ]
    there = [
        Field(name=f"there_{place}", path=f"f{place}", kind=Kind.PRESENCE)
        for place, kind in enumerate(kinds)
        if kind is Kind.INTEGER
    ]
    return RecordTable(path=path, fields=(*fields, *there))


WANTED = st.lists(st.sampled_from([Kind.NUMBER, Kind.INTEGER, Kind.TEXT, Kind.ANY]), max_size=4)


@st.composite
def cases(draw: st.DrawFn) -> tuple[WriterSchema, Layout, list[Any]]:
    names = Names()
    top = record(names, draw(st.lists(types(names), min_size=1, max_size=4)))
    inner = record(names, draw(st.lists(types(names), min_size=1, max_size=4)))
    row = record(names, draw(st.lists(types(names), min_size=1, max_size=4)))
    array = {"type": "array", "items": row}
    top["fields"] += [
        {"name": "inner", "type": draw(st.sampled_from([inner, ["null", inner], [inner, "null", "string"]]))},
        {"name": "rows", "type": draw(st.sampled_from([array, ["null", array], [array, "null"]]))},
    ]
    draw(st.randoms()).shuffle(top["fields"])
    layout = Layout(
        heads=(table("", draw(WANTED)), table("inner", draw(WANTED))), rows=(table("rows", draw(WANTED)),)
    )
    return vet(top), layout, draw(st.lists(values(top), min_size=1, max_size=4))


def written(schema: WriterSchema, packet: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema.parsed, packet)
    return buffer.getvalue()


def read(schema: WriterSchema, layout: Layout, data: list[bytes]) -> tuple[PacketColumns, list[int]]:
    """Return the columns of bare records, and which of them were read."""
    program = compile_schema(schema, layout)
    buffers = [pa.py_buffer(datum) for datum in data]
    segments = np.array(
        [(buffer.address, buffer.size, 0, 1, number) for number, buffer in enumerate(buffers)], np.int64
    ).reshape(-1, 5)
    matrices = Matrices(layout, sum(map(len, data)), len(data))
    done = run_segments(program.code, segments, 0, np.zeros(len(data), np.bool_), *matrices.arrays())
    assert done == len(data)
    return matrices.columns(), matrices.messages().tolist()


def assert_same(one: Columns, other: Columns) -> None:
    assert one.keys() == other.keys()
    for name, column in one.items():
        if isinstance(column, Coded):
            assert column.tolist() == other[name].tolist(), name
        else:
            assert column.dtype == other[name].dtype
            np.testing.assert_array_equal(column, other[name], err_msg=name)


@settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], max_examples=60
)
@given(cases())
def test_a_program_reads_what_fastavro_reads(case: tuple[WriterSchema, Layout, list[Any]]) -> None:
    schema, layout, packets = case
    data = [written(schema, packet) for packet in packets]
    try:
        columns, done = read(schema, layout, data)
    except UnsupportedSchemaError:
        return
    whole = [fastavro.schemaless_reader(io.BytesIO(datum), schema.parsed, None) for datum in data]
    oracle = columns_of_packets([whole[number] for number in done], layout)
    for path in ("", "inner"):
        assert_same(columns.heads[path], oracle.heads[path])
    assert_same(columns.rows["rows"], oracle.rows["rows"])
    assert columns.packet_of["rows"].tolist() == oracle.packet_of["rows"].tolist()
    wanted = {entry.kind for each in (*layout.heads, *layout.rows) for entry in each.fields}
    if not wanted & {Kind.ANY, Kind.INTEGER} and str(packets).isascii() and "\\" not in str(packets):
        assert done == list(range(len(data)))  # nothing gives a reason to leave one over


ROWS = vet(
    {
        "type": "record",
        "name": "packet",
        "fields": [
            {
                "name": "rows",
                "type": {
                    "type": "array",
                    "items": {"type": "record", "name": "row", "fields": [{"name": "f0", "type": "long"}]},
                },
            }
        ],
    }
)
ROW_LAYOUT = Layout(heads=(), rows=(table("rows", [Kind.INTEGER]),))


def zigzag(number: int) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, "long", number)
    return buffer.getvalue()


def test_arrays_come_in_blocks_with_and_without_their_size() -> None:
    blocks = [(2, b""), (-3, zigzag(3)), (1, b"")]
    datum = b"".join(zigzag(n) + size + b"\x02" * abs(n) for n, size in blocks) + zigzag(0)
    columns, done = read(ROWS, ROW_LAYOUT, [datum])
    assert done == [0]
    assert columns.rows["rows"]["our_0"].tolist() == [1] * 6
    assert len(fastavro.schemaless_reader(io.BytesIO(datum), ROWS.parsed, None)["rows"]) == 6


@pytest.mark.parametrize(
    "datum",
    [
        b"",
        zigzag(1),  # a row that is not there
        zigzag(1 << 60) + b"\x02" * 50 + zigzag(0),  # more rows than bytes
        zigzag(-(1 << 63)) + zigzag(1) + b"\x02" + zigzag(0),  # has no opposite
        zigzag(-1),  # a size that is not there
        zigzag(1) + b"\x82\x00" + zigzag(0),  # more bytes than the number takes
        zigzag(1) + b"\xff" * 9 + b"\x02" + zigzag(0),  # more than 64 bits
        zigzag(1) + b"\xff" * 11 + zigzag(0),
        zigzag(1) + zigzag(-(1 << 63)) + zigzag(0),  # means "absent" inside
        zigzag(1) + b"\x02" + zigzag(0) + b"\x00",  # a byte too many
    ],
)
def test_what_is_not_plainly_well_is_left_over(datum: bytes) -> None:
    good = zigzag(1) + b"\x02" + zigzag(0)
    columns, done = read(ROWS, ROW_LAYOUT, [good, datum, good])
    assert done == [0, 2]
    assert columns.rows["rows"]["our_0"].tolist() == [1, 1]
    assert columns.packet_of["rows"].tolist() == [0, 1]


def test_full_matrices_end_a_turn_before_the_message_that_finds_no_room() -> None:
    datum = zigzag(800) + b"\x02" * 800 + zigzag(0)
    buffers = [pa.py_buffer(datum) for _ in range(3)]
    segments = np.array([(b.address, b.size, 0, 1, number) for number, b in enumerate(buffers)], np.int64)
    program = compile_schema(ROWS, ROW_LAYOUT)
    matrices = Matrices(ROW_LAYOUT, 0, 3)  # room for a thousand rows
    assert run_segments(program.code, segments, 0, np.zeros(3, np.bool_), *matrices.arrays()) == 1
    assert matrices.columns().n == 1
    assert len(matrices.columns().rows["rows"]["our_0"]) == 800


@pytest.mark.parametrize(
    "schema",
    [
        {
            "type": "record",
            "name": "a",
            "fields": [{"name": "rows", "type": {"type": "array", "items": "long"}}],
        },
        {"type": "record", "name": "a", "fields": [{"name": "rows", "type": ["null", "long"]}]},
        {"type": "array", "items": "long"},
    ],
)
def test_schemas_of_another_shape_have_no_program(schema: Any) -> None:
    with pytest.raises(UnsupportedSchemaError):
        compile_schema(vet(schema), ROW_LAYOUT)


def test_a_schema_that_grows_without_end_has_no_program() -> None:
    named: Any = {"type": "record", "name": "t0", "fields": [{"name": "a", "type": "long"}]}
    for level in range(1, 30):
        name = named["name"]
        fields = [{"name": "a", "type": named}, {"name": "b", "type": name}]
        named = {"type": "record", "name": f"t{level}", "fields": fields}
    with pytest.raises(UnsupportedSchemaError, match="too long"):
        compile_schema(vet(named), ROW_LAYOUT)


def test_plain_python_finds_every_access_inside_the_arrays() -> None:
    """The same machine uncompiled, where an index beyond an array raises; a position is never negative."""
    script = Path(__file__).with_name("damaged_records.py")
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    left, read = map(int, done.stdout.split())
    assert left > 500
    assert read > 100
