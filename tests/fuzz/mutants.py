# SPDX-License-Identifier: BSD-3-Clause
"""A deterministic mutator: mutant number N of a corpus is the same bytes on every machine, in every run.

It knows Avro and the framings, and nothing of the decoder that is tested. A third of the mutants are damaged
bytes, a third are hostile structure (lengths, counts, schemas, compression), and a third are sound Avro that
holds values no survey would write, which reach the adapters and the models behind the decoder.
"""

from __future__ import annotations

import io
import json
import math
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import fastavro
import pyarrow as pa

from tests.fuzz.corpus import FRAME, Corpus, Seed, container_of, zigzag

__all__ = ["KINDS", "Mutant", "mutant"]

HOSTILE_LENGTHS = (
    *(0, -1, 1, 2, 63, 64, 127, 128, 255, 256, 2**15, 2**16, 2**20, 10**7, 2**31 - 1, 2**31, -(2**31)),
    *(2**32, 2**40, 2**60, 2**62, 2**63 - 1, -(2**63), -(2**62), -(2**20)),
)
"""Where lengths turn around, and where memory ends."""

HOSTILE_FLOATS = (
    *(0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1e-300, 1e-38, -1.0, 1.0, 1e10, 1e30, 3.4e38),
    *(1.7e308, -1.7e308, -999.0, -99.0, -99999.0, 2**53, 2**63, 90.0, 360.0, -2409998.5, 47892.0, 88069.0),
)
"""Limits of the number types, sentinels, and edges of what is possible on the sky."""

HOSTILE_TEXTS = ("", "nan", "null", "\x00", "\x1b[31m", "‮", "x" * 1000, "é" * 100, "{}", "%s%n", "../..")

REPEATS = (2, 10, 100)
"""How often rows are repeated to make a history long."""

LARGEST = 2_000_000
"""No mutant is longer, but for the bombs: the law is about what is in them, and large ones are slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One message to be judged, and what was done to which seed."""

    number: int
    kind: str
    seed: str
    value: bytes


def mutant(corpus: Corpus, number: int) -> Mutant:
    """Return mutant `number` of a corpus."""
    chance = random.Random(number)
    seed = chance.choice(corpus.seeds)
    kind = chance.choice(tuple(KINDS))
    if kind in _INSIDE and seed.schema and seed.datum_at is not None and chance.random() < 0.6:
        value = _framed(seed, KINDS[kind](_bare(seed), corpus.seeds, chance))
    else:
        value = KINDS[kind](seed, corpus.seeds, chance)
    while chance.random() < 0.15:  # several defects in one message
        value = _DAMAGE[chance.choice(tuple(_DAMAGE))](_of(seed, value), corpus.seeds, chance)
    return Mutant(number=number, kind=kind, seed=seed.name, value=value[:LARGEST])


def _of(seed: Seed, value: bytes) -> Seed:
    at = seed.datum_at if seed.datum_at is not None and seed.datum_at < len(value) else None
    return Seed(name=seed.name, value=value, schema=seed.schema, datum_at=at)


def _place(seed: Seed, chance: random.Random) -> int:
    """Return a position, mostly in the first kilobytes of the record: stamps are long and unread."""
    size = len(seed.value)
    if size == 0:
        return 0
    at = seed.datum_at or 0
    if chance.random() < 0.7:
        return min(size - 1, at + int(chance.random() ** 3 * min(20_000, size - at)))
    return chance.randrange(size)


def _flip_bits(seed: Seed, _: Sequence[Seed], chance: random.Random) -> bytes:
    value = bytearray(seed.value)
    for _n in range(chance.choice((1, 1, 2, 8, 64)) if value else 0):
        value[_place(seed, chance)] ^= 1 << chance.randrange(8)
    return bytes(value)


def _other_bytes(seed: Seed, _: Sequence[Seed], chance: random.Random) -> bytes:
    at = _place(seed, chance)
    length = chance.choice((1, 2, 4, 8, 100))
    return seed.value[:at] + chance.randbytes(length) + seed.value[at + length :]


def _truncate(seed: Seed, _: Sequence[Seed], chance: random.Random) -> bytes:
    return seed.value[: _place(seed, chance)]


def _delete(seed: Seed, _: Sequence[Seed], chance: random.Random) -> bytes:
    at = _place(seed, chance)
    return seed.value[:at] + seed.value[at + chance.choice((1, 2, 5, 50, 5000)) :]


def _repeat(seed: Seed, _: Sequence[Seed], chance: random.Random) -> bytes:
    at = _place(seed, chance)
    piece = seed.value[at : at + chance.choice((1, 8, 100, 3000))]
    return seed.value[:at] + piece * chance.choice((2, 3, 50)) + seed.value[at:]


def _splice(seed: Seed, seeds: Sequence[Seed], chance: random.Random) -> bytes:
    other = chance.choice(seeds)
    return seed.value[: _place(seed, chance)] + other.value[_place(other, chance) :]


def _hostile_number(seed: Seed, _: Sequence[Seed], chance: random.Random) -> bytes:
    at = _place(seed, chance)
    number = chance.choice(HOSTILE_FLOATS)
    try:
        packed = struct.pack(chance.choice(("<f", "<d")), number)
    except OverflowError:
        packed = struct.pack("<d", number)
    return seed.value[:at] + packed + seed.value[at + len(packed) :]


def _hostile_length(seed: Seed, _: Sequence[Seed], chance: random.Random) -> bytes:
    at = _place(seed, chance)
    packed = zigzag(chance.choice(HOSTILE_LENGTHS))
    replaced = len(packed) if chance.random() < 0.5 else 1
    return seed.value[:at] + packed + seed.value[at + replaced :]


def _endless_integer(seed: Seed, _: Sequence[Seed], chance: random.Random) -> bytes:
    at = _place(seed, chance)
    return seed.value[:at] + b"\xff" * chance.choice((9, 10, 11, 1000)) + seed.value[at:]


def _wrong_schema(seed: Seed, seeds: Sequence[Seed], chance: random.Random) -> bytes:
    datum, other = _datum(seed), chance.choice([each for each in seeds if each.schema])
    if chance.random() < 0.5:
        return container_of(other.schema, datum)
    ids = (90_000, 90_001, 90_002, 90_003, 90_004, 90_005, 701, 900, 1000, 0, 1, 2**31 - 1)
    return FRAME.pack(0, chance.choice(ids)) + datum


def _altered_schema(seed: Seed, _: Sequence[Seed], chance: random.Random) -> bytes:
    """Another type, name or structure somewhere in the container's own schema."""
    schema = json.loads(seed.schema or '{"type": "record", "name": "r", "fields": []}')
    nodes = list(_nodes(schema))
    for _n in range(chance.choice((1, 1, 3))):
        node, key = chance.choice(nodes)
        node[key] = chance.choice(_SCHEMA_PARTS)(schema)
    try:
        text = json.dumps(schema)
    except (ValueError, RecursionError):  # it was put into itself
        text = "[" * 2000
    return container_of(text, _datum(seed))


def _schema_text(seed: Seed, seeds: Sequence[Seed], chance: random.Random) -> bytes:
    text = bytearray((seed.schema or "{}").encode())
    for _n in range(chance.choice((1, 3, 20))):
        text[chance.randrange(len(text))] = chance.randrange(128)
    return container_of(text.decode("utf-8", "replace"), _datum(seed))


def _counts(seed: Seed, _: Sequence[Seed], chance: random.Random) -> bytes:
    schema = seed.schema or '"int"'
    return container_of(schema, _datum(seed), count=chance.choice(HOSTILE_LENGTHS))


def _bomb(seed: Seed, _: Sequence[Seed], chance: random.Random) -> bytes:
    """A small block that is large when opened: its record, then zeros, or repeats of the record."""
    filling = chance.choice((bytes(12_000_000), _datum(seed) * chance.choice((1, 100))))
    codec = chance.choice(("deflate", "deflate", "zstandard", "snappy"))
    block = _compressed(_datum(seed) + filling, codec)
    if chance.random() < 0.2:
        block = block[: len(block) // 2]
    return container_of(seed.schema or '"bytes"', block, count=chance.choice((1, 2, 101)), codec=codec)


def _compressed(content: bytes, codec: str) -> bytes:
    if codec == "deflate":
        deflated = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        return deflated.compress(content) + deflated.flush()
    if codec == "snappy":
        return bytes(pa.Codec("snappy").compress(content)) + zlib.crc32(content).to_bytes(4, "big")
    return bytes(pa.Codec("zstd").compress(content))


def _other_codec(seed: Seed, _: Sequence[Seed], chance: random.Random) -> bytes:
    codec = chance.choice(("deflate", "snappy", "zstandard", "bzip2", "xz", "lz4", "", "null\0"))
    return container_of(
        seed.schema or '"int"', chance.randbytes(chance.choice((0, 1, 10, 1000))), codec=codec
    )


def _junk(_: Seed, __: Sequence[Seed], chance: random.Random) -> bytes:
    start = chance.choice((b"", b"Obj\x01", b"\0", FRAME.pack(0, 90_001), b"PK\3\4", b"\x1f\x8b\x08", b"{"))
    return start + chance.randbytes(chance.choice((0, 1, 4, 16, 300, 5000)))


def _other_values(seed: Seed, _: Sequence[Seed], chance: random.Random) -> bytes:
    """Sound Avro with a few values that no survey would write."""
    return _rewritten(seed, chance, lambda leaves: [_hostile_value(chance, leaf) for leaf in leaves])


def _one_value(seed: Seed, _: Sequence[Seed], chance: random.Random) -> bytes:
    """Sound Avro in which the same value stands in every number of a row, or of all rows."""
    number = chance.choice(HOSTILE_FLOATS)
    return _rewritten(seed, chance, lambda leaves: [_cast(number, leaf) for leaf in leaves], share=1.0)


def _long_history(seed: Seed, _: Sequence[Seed], chance: random.Random) -> bytes:
    def lengthen(record: dict[str, Any]) -> None:
        for name, rows in record.items():
            if isinstance(rows, list) and rows:
                times = chance.choice(REPEATS)
                record[name] = (rows * times)[: 400 + chance.randrange(2)]
                if chance.random() < 0.7:
                    record[name] = [_shifted(row, place) for place, row in enumerate(record[name])]

    return _edited(seed, lengthen)


def _odd_lists(seed: Seed, _: Sequence[Seed], chance: random.Random) -> bytes:
    def disorder(record: dict[str, Any]) -> None:
        for name, rows in record.items():
            if isinstance(rows, list):
                record[name] = chance.choice(
                    (rows[::-1], [], rows[:1], rows * 2, rows[chance.randrange(9) :])
                )

    return _edited(seed, disorder)


_DAMAGE: dict[str, Callable[[Seed, Sequence[Seed], random.Random], bytes]] = {
    "flipped bits": _flip_bits,
    "other bytes": _other_bytes,
    "truncated": _truncate,
    "deleted": _delete,
    "repeated": _repeat,
    "spliced": _splice,
    "hostile number": _hostile_number,
}
_STRUCTURE: dict[str, Callable[[Seed, Sequence[Seed], random.Random], bytes]] = {
    "hostile length": _hostile_length,
    "endless integer": _endless_integer,
    "wrong schema": _wrong_schema,
    "altered schema": _altered_schema,
    "schema text": _schema_text,
    "hostile count": _counts,
    "bomb": _bomb,
    "other codec": _other_codec,
    "junk": _junk,
}
_VALUES: dict[str, Callable[[Seed, Sequence[Seed], random.Random], bytes]] = {
    "other values": _other_values,
    "other values again": _other_values,
    "one value": _one_value,
    "long history": _long_history,
    "odd lists": _odd_lists,
}
_INSIDE = frozenset(_DAMAGE) | {"hostile length", "endless integer"}
"""Kinds of damage that are also done to the record alone, in a framing that is sound."""

KINDS = _DAMAGE | _STRUCTURE | _VALUES
"""What can be done to a seed, by name."""

_SCHEMA_PARTS: tuple[Callable[[Any], Any], ...] = (
    lambda _: "null",
    lambda _: "long",
    lambda _: "bytes",
    lambda _: "double",
    lambda _: ["null", "long", "string"],
    lambda _: {"type": "array", "items": "null"},
    lambda _: {"type": "array", "items": {"type": "array", "items": "int"}},
    lambda _: {"type": "map", "values": "string"},
    lambda _: {"type": "fixed", "name": "f", "size": 2**40},
    lambda _: {"type": "enum", "name": "e", "symbols": []},
    lambda _: {"type": "record", "name": "e", "fields": []},
    lambda schema: schema.get("name", "r") if isinstance(schema, dict) else "r",
    lambda schema: json.loads(json.dumps(schema)),
    lambda _: "",
    lambda _: None,
    lambda _: 2**70,
    lambda _: [],
    lambda _: {},
)


def _nodes(schema: Any) -> list[tuple[Any, Any]]:
    """Return every place in a schema, as container and key."""
    found: list[tuple[Any, Any]] = []
    stack = [schema]
    while stack:
        node = stack.pop()
        keys = node.keys() if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            found.append((node, key))
            stack.append(node[key])
    return found


def _bare(seed: Seed) -> Seed:
    return Seed(name=seed.name, value=_datum(seed), schema=seed.schema, datum_at=0)


def _datum(seed: Seed) -> bytes:
    if seed.datum_at is None:
        return b""
    end = -16 if seed.value.startswith(b"Obj\x01") else None
    return seed.value[seed.datum_at : end]


def _record(seed: Seed) -> dict[str, Any] | None:
    if not seed.schema or seed.datum_at is None:
        return None
    record: dict[str, Any] = fastavro.schemaless_reader(io.BytesIO(_datum(seed)), seed.parsed, None)
    return record


def _edited(seed: Seed, edit: Callable[[dict[str, Any]], None]) -> bytes:
    """Return a seed with its record edited, in the seed's framing."""
    record = _record(seed)
    if record is None:
        return seed.value[: len(seed.value) // 2]
    edit(record)
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, seed.parsed, record)
    return _framed(seed, buffer.getvalue())


def _framed(seed: Seed, datum: bytes) -> bytes:
    """Return another record in the framing of a seed."""
    if seed.value.startswith(b"Obj\x01"):
        return container_of(seed.schema, datum)
    return seed.value[: FRAME.size] + datum


def _rewritten(
    seed: Seed,
    chance: random.Random,
    change: Callable[[list[Any]], list[Any]],
    *,
    share: float | None = None,
) -> bytes:
    """Return a seed with a share of its leaves changed; a few of them where no share is given."""

    def edit(record: dict[str, Any]) -> None:
        leaves = [(node, key) for node, key in _nodes(record) if not isinstance(node[key], (dict, list))]
        if chance.random() < 0.5:  # in one record of the packet only, mostly the alert's own
            inner = [node for node, _ in leaves]
            one = chance.choice(inner)
            leaves = [(node, key) for node, key in leaves if node is one]
        n_changed = max(1, round(len(leaves) * (share or chance.choice((0.0, 0.0, 0.02, 0.3)))))
        chosen = chance.sample(leaves, min(len(leaves), n_changed))
        for (node, key), value in zip(chosen, change([node[key] for node, key in chosen]), strict=True):
            node[key] = value

    return _edited(seed, edit)


def _hostile_value(chance: random.Random, leaf: Any) -> Any:
    match leaf:
        case bool() | None:
            return leaf
        case int():
            return _cast(chance.choice((*HOSTILE_LENGTHS, *HOSTILE_FLOATS)), leaf)
        case float():
            return chance.choice((*HOSTILE_FLOATS, leaf * 1e10, leaf + 1e6, -leaf))
        case str():
            return chance.choice(HOSTILE_TEXTS)
        case bytes():
            return chance.randbytes(chance.choice((0, 10, 1000)))
        case _:
            return leaf


def _cast(number: float, leaf: Any) -> Any:
    """Return a number as the type of the leaf that it replaces, inside what the type can hold."""
    if isinstance(leaf, bool) or not isinstance(leaf, (int, float)):
        return leaf
    if isinstance(leaf, float):
        return float(number)
    # Whether a schema says int or long is not seen in the value: what fits an int fits both.
    low, high = (-(2**31), 2**31 - 1) if abs(leaf) < 2**31 else (-(2**63), 2**63 - 1)
    return int(min(max(number, low), high)) if math.isfinite(number) else low


def _shifted(row: Any, place: int) -> Any:
    """Return a row at another time, so that it counts as another epoch."""
    if not isinstance(row, dict):
        return row
    moved = dict(row)
    for name in ("jd", "midpointMjdTai"):
        if isinstance(moved.get(name), float):
            moved[name] -= 0.01 * place
    for name in ("visit",):
        if isinstance(moved.get(name), int):
            moved[name] = place + 1
    return moved
