# SPDX-License-Identifier: BSD-3-Clause
"""Run by itself, with numba's compiler off or its bounds checked: damaged records through the machine.

Prints how many were left over and how many were read. Any access outside an array raises.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[3]))

from broker_plugin.codec.machine import run_segments
from broker_plugin.codec.matrices import Matrices
from broker_plugin.codec.program import compile_schema
from broker_plugin.codec.writer_schema import vet
from broker_plugin.surveys.columns import Layout
from broker_plugin.surveys.fields import Field, Kind, RecordTable

ROW = {
    "type": "record",
    "name": "row",
    "fields": [
        {"name": "x", "type": "float"},
        {"name": "y", "type": ["null", "double"]},
        {"name": "n", "type": ["long", "null"]},
        {"name": "t", "type": ["null", "string", "long", "boolean"]},
        {"name": "e", "type": {"type": "enum", "name": "e", "symbols": ["a", "b"]}},
        {"name": "f", "type": {"type": "fixed", "name": "f", "size": 3}},
    ],
}
SCHEMA = vet(
    {
        "type": "record",
        "name": "packet",
        "fields": [
            {"name": "a", "type": ["null", "float"]},
            {"name": "b", "type": ["null", "float"]},
            {"name": "m", "type": {"type": "map", "values": ["null", "long"]}},
            {"name": "s", "type": "string"},
            {"name": "u", "type": ["null", "bytes"]},
            {"name": "rows", "type": ["null", {"type": "array", "items": ROW}]},
            {"name": "v", "type": {"type": "array", "items": {"type": "array", "items": "boolean"}}},
        ],
    }
)
LAYOUT = Layout(
    heads=(RecordTable(path="", fields=(Field(name="s", path="s", kind=Kind.TEXT),)),),
    rows=(
        RecordTable(
            path="rows",
            fields=(
                Field(name="x", path="x"),
                Field(name="y", path="y"),
                Field(name="n", path="n", kind=Kind.INTEGER),
                Field(name="t", path="t", kind=Kind.ANY),
            ),
        ),
    ),
)
WHOLE = bytes.fromhex(
    "02 0000803f 00"  # a is 1, b is null
    "02 026b 02 08 00"  # one entry in the map
    "06 616263"  # the text abc
    "02 04 ffff"  # two bytes
    "02 04"  # two rows:
    "0000803f 02 000000000000f03f 00 06 02 0272 02 010203"
    "0000803f 00 02 04 54 00 010203"
    "00"
    "02 04 0100 00 00"  # an array of an array of two booleans
)


def damaged() -> list[bytes]:
    rng = np.random.default_rng(5)
    data = [WHOLE, *(WHOLE[:end] for end in range(len(WHOLE)))]
    for _ in range(1500):
        changed = bytearray(WHOLE)
        for place in rng.integers(len(WHOLE), size=rng.integers(1, 4)).tolist():
            changed[place] = (
                int(rng.integers(256)) if rng.integers(2) else changed[place] ^ 1 << int(rng.integers(8))
            )
        data.append(bytes(changed))
    return data


def main() -> None:
    data = damaged()
    program = compile_schema(SCHEMA, LAYOUT)
    buffers = [pa.py_buffer(datum + b"\x00") for datum in data]  # none is empty
    segments = np.array([(b.address, b.size - 1, 0, 1, number) for number, b in enumerate(buffers)], np.int64)
    segments = segments[segments[:, 1] > 0]
    matrices = Matrices(LAYOUT, 10_000, len(data))
    given_up = np.zeros(len(data), np.bool_)
    done = run_segments(program.code, segments, 0, given_up, *matrices.arrays())
    assert done == len(segments)
    assert 0 in matrices.messages().tolist()
    sys.stdout.write(f"{given_up.sum()} {matrices.n_packets}\n")


main()
