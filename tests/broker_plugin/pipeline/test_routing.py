# SPDX-License-Identifier: BSD-3-Clause
"""A route sends on what its rule chooses, with the light curve that was judged."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.client.candidate import UpperLimit, candidate_of_record
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.topic_schema import TOPIC_SCHEMAS, topic_schema
from broker_plugin.codec.verdict import Revision, from_record
from broker_plugin.pipeline import routing
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.filter import AlertFilter, Judgement
from broker_plugin.pipeline.outbox import Outbox
from broker_plugin.pipeline.routing import EmbeddingTopic, Route
from broker_plugin.pipeline.selection import Selection
from broker_plugin.pipeline.verdict_reader import RecordReader
from broker_plugin.records import Alert, LightCurve
from broker_plugin.streams.base import Message, OutgoingMessage
from broker_plugin.upper_limits import UpperLimits
from tests.broker_plugin.codec.test_verdict import VERDICT

EPOCHS = LightCurve.from_columns(
    mjd_tai=[60_000.0, 60_000.125],
    flux_njy=[1000.0, 1500.5],
    flux_err_njy=[10.0, 11.0],
    band=[0, 1],
    origin=[0, 1],
    apparent=[True, False],
    detector=[1, 1],
    access=[1, 1],
)

ALERT = Alert(
    survey="ztf",
    alert_id=1,
    object_id=VERDICT.object_id,
    ra_deg=0.0,
    dec_deg=0.0,
    mjd_tai=60_000.125,
    light_curve=EPOCHS,
    limits=UpperLimits(
        mjd_tai=np.array([59_990.5]), limit_njy=np.array([2000.0], np.float32), band=np.array([1], np.int8)
    ),
)


def route(**rule: Any) -> Route:
    return Route(
        name="odd stars",
        topic="candidates",
        selection=Selection(**rule),
        encode=topic_schema("candidate.v1").container,
    )


def opened(message: OutgoingMessage) -> Mapping[str, Any]:
    (record,) = fastavro.reader(io.BytesIO(message.value))
    assert isinstance(record, dict)
    return record


def fields_of(schema: Any) -> list[dict[str, Any]]:
    """All fields of a schema, those of nested records too."""
    if isinstance(schema, list):
        return [field for part in schema for field in fields_of(part)]
    if not isinstance(schema, dict):
        return []
    inner = schema.get("fields", [])
    nested = [field for field in inner for field in fields_of(field["type"])]
    return [*inner, *nested, *fields_of(schema.get("items")), *fields_of(schema.get("type"))]


@pytest.mark.parametrize("name", TOPIC_SCHEMAS)
def test_every_field_of_every_topic_is_documented_for_people_and_machines(name: str) -> None:
    schema = json.loads(topic_schema(name).text)
    assert schema["doc"]
    assert schema["namespace"] == f"astrom3.{name}"
    assert schema["version"].split(".")[0] == name[-1]
    fields = fields_of(schema)
    assert fields
    assert [field["name"] for field in fields if not field.get("doc") or not field.get("ucd")] == []
    measured = ("_deg", "_day", "_njy", "mjd_tai", "_aliases_day")
    assert [f["name"] for f in fields if f["name"].endswith(measured) and "unit" not in f] == []


def test_a_candidate_is_the_verdict_with_its_light_curve_and_pages() -> None:
    (message,) = route(max_p_value=0.2).candidates(VERDICT, ALERT)
    assert (message.topic, message.key) == ("candidates", VERDICT.object_id.encode())
    assert dict(message.headers)["verdict_id"] == VERDICT.verdict_id.encode()
    record = opened(message)
    assert record["route"] == "odd stars"
    assert from_record(record["verdict"]) == VERDICT
    assert [epoch["mjd_tai"] for epoch in record["light_curve"]] == [60_000.0, 60_000.125]
    assert record["light_curve"][1] == {
        "mjd_tai": 60_000.125,
        "band": "ztf_r",
        "flux_njy": 1500.5,
        "flux_err_njy": 11.0,
        "origin": "forced",
        "apparent": False,
    }
    assert record["upper_limits"] == [{"mjd_tai": 59_990.5, "band": "ztf_r", "limit_njy": 2000.0}]
    read = RecordReader(SchemaStore(), candidate_of_record).read(message.value)
    assert read.upper_limits == (UpperLimit(**record["upper_limits"][0]),)
    assert record["links"]["fink"] == "https://ztf.fink-portal.org/ZTF18abcdefg"


def test_a_retraction_goes_where_its_candidate_went_and_says_so() -> None:
    retraction = VERDICT._replace(revision=Revision.RETRACTION, verdict_id="of its own")
    chosen, other = route(max_p_value=0.2), route(context="solar_system")
    for verdict, revision in ((VERDICT, b"initial"), (retraction, b"retraction")):
        (message,) = chosen.candidates(verdict, ALERT)
        assert dict(message.headers)["revision"] == revision
        read = RecordReader(SchemaStore(), candidate_of_record).read(message.value)
        assert read.verdict.is_retraction == (verdict is retraction)
        assert other.candidates(verdict, ALERT) == []


def test_a_light_curve_that_no_topic_takes_is_cut_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "EPOCHS_MAX", 1)
    (message,) = route().candidates(VERDICT, ALERT)
    assert [epoch["mjd_tai"] for epoch in opened(message)["light_curve"]] == [60_000.125]


@given(
    p_value=st.floats(0.001, 1.0),
    limit=st.none() | st.floats(0.001, 1.0),
    context=st.sampled_from(["stellar", "galaxy_host"]),
    wanted=st.sampled_from(["any", "stellar"]),
)
def test_a_route_sends_what_its_rule_accepts_and_nothing_else(
    p_value: float, limit: float | None, context: str, wanted: str
) -> None:
    verdict = VERDICT._replace(anomaly_p_value=p_value, source_context=context)
    chosen = route(max_p_value=limit, context=wanted)
    expected = (limit is None or p_value <= limit) and wanted in ("any", context)
    assert bool(chosen.candidates(verdict, ALERT)) == expected == chosen.selection.accepts(verdict)


@pytest.mark.parametrize(("number_format", "tolerance"), [("float32", 1e-7), ("float16", 1e-3)])
def test_an_embedding_is_read_back_as_its_format_says(
    number_format: Any, tolerance: float, rng: np.random.Generator
) -> None:
    vector = rng.normal(size=64)
    vector /= np.linalg.norm(vector)
    verdict = VERDICT._replace(embedding=tuple(vector.tolist()))
    topic = EmbeddingTopic(
        topic="embeddings", number_format=number_format, encode=topic_schema("embedding.v1").container
    )
    record = opened(topic.message(verdict))
    values = np.frombuffer(record["values"], np.dtype(record["format"]).newbyteorder("<"))
    assert len(values) == record["dimension"] == 64
    # A unit vector's numbers are below one, so this is the format's own rounding.
    np.testing.assert_allclose(values.astype(float), vector, atol=tolerance)
    assert record["verdict_id"] == VERDICT.verdict_id


def test_the_outbox_sends_each_to_its_topic_and_keeps_verdicts_small() -> None:
    verdict = VERDICT._replace(embedding=(0.6, 0.8))
    other = verdict._replace(alert_key="ztf:2", anomaly_p_value=0.9)
    sent: list[Any] = []
    outbox = Outbox(
        "verdicts",
        DeadLetters(topic="dead"),
        encode=lambda v: sent.append(v) or b"",  # type: ignore[func-returns-value]
        routes=[route(max_p_value=0.2), route(context="solar_system")],
        embeddings=EmbeddingTopic(
            topic="embeddings", number_format="float16", encode=topic_schema("embedding.v1").container
        ),
    )
    message = Message(topic="alerts", partition=0, offset=0, value=b"")
    judgement = Judgement(message=message, verdicts=(verdict, other), alerts=(ALERT, ALERT))
    (parcel,) = outbox.pack([judgement])
    assert [content.topic for content in parcel.contents] == [
        "verdicts",
        "embeddings",
        "candidates",
        "verdicts",
        "embeddings",
    ]
    assert [v.embedding for v in sent] == [None, None]
    assert opened(parcel.contents[2])["verdict"]["embedding"] is None
    assert len(opened(parcel.contents[2])["light_curve"]) == 2


def test_the_filter_hands_on_the_alerts_that_were_judged(
    alert_filter: AlertFilter, decoder: Any, scorer: Any, messages: list[Message]
) -> None:
    assert {judgement.alerts for judgement in alert_filter.judge(messages[:5])} == {()}
    keeping = AlertFilter(decoder, scorer, keep_alerts=True)
    for judgement in keeping.judge([*messages[:5], dataclasses.replace(messages[5], value=b"junk")]):
        assert [a.alert_key for a in judgement.alerts] == [v.alert_key for v in judgement.verdicts]
        for alert, verdict in zip(judgement.alerts, judgement.verdicts, strict=True):
            assert len(alert.light_curve) == verdict.n_epochs
