# SPDX-License-Identifier: BSD-3-Clause
"""The compiled writer against fastavro, its oracle: the same bytes, whatever the values."""

import io
import uuid
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.codec.record_writer import compile_writer, long_bytes
from broker_plugin.codec.topic_schema import topic_schema
from broker_plugin.codec.verdict import (
    VERDICT_NAMESPACE,
    Analogue,
    Revision,
    Tense,
    Verdict,
    encode_container,
    encode_datum,
    to_record,
    verdict_id,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
DOUBLE = st.floats(allow_nan=False)
INT = st.integers(-(2**31), 2**31 - 1)
LONG = st.integers(-(2**63), 2**63 - 1)
MOMENT = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))

BY_TYPE = {
    "string": TEXT,
    "double": DOUBLE,
    "float": st.floats(width=32, allow_nan=False),
    "boolean": st.booleans(),
    "int": INT,
    "long": LONG,
}


def values_of(schema: Any) -> st.SearchStrategy[Any]:
    """Any value of an Avro type that a verdict may have."""
    if isinstance(schema, str):
        return BY_TYPE[schema]
    if isinstance(schema, list):
        return st.none() | values_of(schema[1])
    if schema.get("logicalType") == "timestamp-millis":
        return MOMENT
    match schema["type"]:
        case "map":
            return st.dictionaries(TEXT, values_of(schema["values"]), max_size=5)
        case "array":
            return st.lists(values_of(schema["items"]), max_size=5).map(tuple)
        case "record":
            return st.builds(
                Analogue, **{field["name"]: values_of(field["type"]) for field in schema["fields"]}
            )
        case "enum":
            known = {"Tense": Tense, "Revision": Revision}.get(schema["name"].rpartition(".")[2], str)
            return st.sampled_from(schema["symbols"]).map(known)
        case other:
            return values_of(other)


SCHEMA: Any = topic_schema("verdict.v1").parsed

VERDICTS = st.builds(Verdict, **{field["name"]: values_of(field["type"]) for field in SCHEMA["fields"]})


def by_fastavro(verdict: Verdict) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, SCHEMA, to_record(verdict))
    return buffer.getvalue()


@given(VERDICTS)
def test_any_verdict_has_the_bytes_that_fastavro_writes(verdict: Verdict) -> None:
    assert encode_datum(verdict) == by_fastavro(verdict)


@given(VERDICTS)
def test_any_verdict_in_a_container_is_read_back(verdict: Verdict) -> None:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, SCHEMA, to_record(verdict))
    expected = fastavro.schemaless_reader(io.BytesIO(buffer.getvalue()), SCHEMA, None)
    assert list(fastavro.reader(io.BytesIO(encode_container(verdict)))) == [expected]


@given(LONG)
def test_an_integer_is_written_as_fastavro_does(value: int) -> None:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, "long", value)
    assert long_bytes(value) == buffer.getvalue()


@given(TEXT, LONG, TEXT)
def test_the_identity_of_a_verdict_is_a_name_based_uuid(survey: str, alert: int, digest: str) -> None:
    expected = uuid.uuid5(VERDICT_NAMESPACE, f"{survey}:{alert}:{digest}")
    assert verdict_id(survey, alert, digest) == str(expected)


def test_what_the_schema_does_not_allow_is_not_written() -> None:
    fields = [{"name": "tense", "type": {"type": "enum", "name": "T", "symbols": ["now"]}}]
    write = compile_writer({"type": "record", "name": "R", "fields": fields})
    with pytest.raises(KeyError):
        write(("then",))


@pytest.mark.parametrize("kind", ["bytes", ["int", "string"]])
def test_a_type_that_no_topic_has_is_refused_at_once(kind: Any) -> None:
    with pytest.raises(NotImplementedError):
        compile_writer({"type": "record", "name": "R", "fields": [{"name": "x", "type": kind}]})
