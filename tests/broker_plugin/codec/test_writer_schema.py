# SPDX-License-Identifier: BSD-3-Clause
"""Schemas are complete and harmless after vetting, or refused."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.codec.verdict import verdict_schema
from broker_plugin.codec.writer_schema import TYPES_MAX, SchemaError, parse_json, vet


def record(name: str, *types: Any, **more: Any) -> dict[str, Any]:
    fields = [{"name": f"f{i}", "type": kind, "doc": "d", "default": None} for i, kind in enumerate(types)]
    return {"type": "record", "name": name, "fields": fields} | more


LIBRARY = {"s.v1.point": record("point", "int", namespace="s.v1")}


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        (record("a", "int"), "a"),
        (record("a", "int", namespace="n"), "n.a"),
        (record("n.a", "int", namespace="other"), "n.a"),
        (record("a", ["null", "int"], namespace="lsst.v9_0"), "lsst.v9_0.a"),
    ],
)
def test_the_name_is_the_full_name(schema: Any, name: str) -> None:
    assert vet(schema).name == name


def test_a_schema_has_no_more_types_than_can_be_kept() -> None:
    assert vet(record("a", *["int"] * (TYPES_MAX - 1))).name == "a"
    with pytest.raises(SchemaError, match="more than 10000 types"):
        vet(record("a", *["int"] * TYPES_MAX))


def test_types_are_found_in_the_library_by_full_name_or_namespace() -> None:
    for spelling in ("s.v1.point", "point"):
        top = record("alert", spelling, {"type": "array", "items": spelling}, namespace="s.v1")
        parsed = vet(top, LIBRARY).parsed
        value = {"f0": {"f0": 1}, "f1": [{"f0": 2}]}
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, parsed, value)
        buffer.seek(0)
        assert fastavro.schemaless_reader(buffer, parsed, None) == value


def test_a_type_used_twice_is_defined_once() -> None:
    inner = record("inner", "int", namespace="n")
    assert vet(record("a", inner, "inner", ["null", "n.inner"], namespace="n")).parsed


def test_a_nested_definition_takes_the_namespace_of_its_parent() -> None:
    schema = record("a", record("b", record("c", "int")), "n.b", "n.c", namespace="n")
    assert vet(schema).name == "n.a"


@pytest.mark.parametrize(
    "schema",
    [
        None,
        3,
        [],
        {},
        {"type": "record"},
        {"type": "record", "name": "a"},
        {"type": "record", "name": "a", "fields": []},
        {"type": "record", "name": "a", "fields": [3]},
        {"type": "record", "name": "a", "fields": [{"name": "x"}]},
        {"type": "record", "name": 3, "fields": [{"name": "x", "type": "int"}]},
        {"type": "enum", "name": "e", "symbols": 3},
        {"type": "enum", "name": "e", "symbols": ["A", "A"]},
        {"type": "fixed", "name": "f", "size": -1},
        {"type": "fixed", "name": "f", "size": True},
        {"type": "array"},
        {"type": "map", "values": "null"},
        "null",
        "no.such.type",
        record("a", "null"),
        record("a", [["null", "int"]]),
        record("a", []),
        record("a", "a"),
        record("a", ["null", "a"]),
        record("a", record("b", "int"), record("b", "int")),
        record("a", record("a", "int")),
    ],
)
def test_what_cannot_be_decoded_safely_is_refused(schema: Any) -> None:
    with pytest.raises(SchemaError):
        vet(schema)


def test_library_types_that_contain_each_other_are_refused() -> None:
    library = {"x": record("x", "y"), "y": record("y", ["null", "x"])}
    with pytest.raises(SchemaError, match="contains itself"):
        vet(record("a", "x"), library)


def test_a_missing_type_ends_in_an_error_and_not_in_a_loop() -> None:
    with pytest.raises(SchemaError, match="does not define"):
        vet(record("a", "s.v1.point", "s.v1.missing"), LIBRARY)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\ud800", b"\xff\xfe", "x" * 2_000_000])
def test_what_is_not_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(SchemaError):
        parse_json(text)


def test_our_own_verdict_schema_passes() -> None:
    assert vet(verdict_schema()).name == "astrom3.verdict.v1.Verdict"


WORDS = st.sampled_from(
    ["record", "enum", "fixed", "array", "map", "int", "null", "string", "a", "", 3, None]
)
KEYS = st.sampled_from(
    ["type", "name", "fields", "items", "values", "symbols", "size", "namespace", "default"]
)
NODES = st.recursive(
    WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


@given(NODES)
def test_any_json_is_vetted_or_refused(node: Any) -> None:
    with contextlib.suppress(SchemaError):
        vet(node)


def test_a_type_may_be_spelt_as_a_definition_of_a_union() -> None:
    schema = vet(record("a", {"type": ["null", {"type": {"type": "int"}}]}))
    assert schema.name == "a"
