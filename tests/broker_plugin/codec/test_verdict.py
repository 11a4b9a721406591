# SPDX-License-Identifier: BSD-3-Clause
"""The verdict survives its wire forms, and its schema keeps its promises."""

import io
import json
import math
from datetime import UTC, datetime

import fastavro
import pytest

from broker_plugin.codec.verdict import (
    Analogue,
    Revision,
    Tense,
    Verdict,
    encode_container,
    encode_datum,
    from_record,
    schema_text,
    to_json,
    verdict_id,
    verdict_schema,
)

MOMENT = datetime(2026, 3, 1, 4, 5, 6, 789_000, tzinfo=UTC)

VERDICT = Verdict(
    verdict_id=verdict_id("ztf", 2**62 + 1, "ab"),
    alert_key=f"ztf:{2**62 + 1}",
    inputs_digest="0" * 32,
    tense=Tense.TEST,
    revision=Revision.INITIAL,
    survey="ztf",
    alert_id=2**62 + 1,
    object_id="ztf:ZTF18abcdefg",
    ra_deg=10.5,
    dec_deg=-20.25,
    mjd_tai=60_000.125,
    observed_utc="2023-02-25T02:59:23.000Z",
    source_context="stellar",
    taxonomy="catalina",
    class_probabilities={"EW": 0.75, "EA": 0.25},
    class_applies=True,
    top_class="EW",
    top_class_probability=0.75,
    class_set=("EW",),
    class_prior="catalina",
    decision_rule="argmax",
    anomaly_score=0.5,
    anomaly_p_value=0.125,
    anomaly_scores={"fused": 0.5},
    anomaly_p_values={"fused": 0.125},
    expected_per_night=12.5,
    calibration_n=400,
    calibration_stratum="photometry/4-7",
    modalities=("photometry",),
    n_epochs=5,
    n_epochs_by_band={"ztf_g": 5},
    history_origin="packet",
    n_stored_epochs=None,
    context_sources=(),
    reference_change_mag=-0.5,
    period_day=None,
    period_false_alarm_probability=None,
    period_aliases_day=(),
    period_epochs=0,
    analogues=(Analogue(object_id="sss:1", label="EW", cosine=0.5),),
    explanation="5 epochs in g",
    embedding=None,
    quality_flags=(),
    oddities={"ordinary": 0.9, "event": 0.1},
    bundle_name="default",
    bundle_digest="ab",
    feature_spec_version="1",
    plugin_version="0.1.0",
    provider="CPUExecutionProvider",
    precision="fp32",
    received_at=MOMENT,
    emitted_at=MOMENT,
)


def test_schema_fields_are_the_fields_of_a_verdict_in_order() -> None:
    types = {f["name"]: f["type"] for f in verdict_schema()["fields"]}
    assert list(types) == list(Verdict._fields)
    assert [f["name"] for f in types["analogues"]["items"]["fields"]] == list(Analogue._fields)


def test_every_field_is_documented_and_nullable_ones_default_to_null() -> None:
    for field in json.loads(schema_text())["fields"]:
        assert field["doc"]
        if isinstance(field["type"], list):
            assert field["type"][0] == "null"
            assert field["default"] is None


UCD_FIRST = {
    "instr", "meta.checksum", "meta.code", "meta.code.qual", "meta.id", "meta.id.assoc", "meta.note",
    "meta.number", "meta.version", "phot.mag", "pos.eq.dec", "pos.eq.ra", "src.class",
    "stat.correlation", "stat.probability", "stat.value", "time.epoch", "time.period",
}  # fmt: skip
"""Words of the IVOA's list UCD1+ 1.5 that may begin a UCD (their flag is P, Q or E)."""

UCD_LATER = {"arith.diff", "meta.software", "obs", "src", "src.class"}
"""Those that may follow (S or Q)."""


def test_every_field_has_a_ucd_of_known_words() -> None:
    fields = json.loads(schema_text())["fields"]
    (analogue,) = [field["type"]["items"] for field in fields if field["name"] == "analogues"]
    for field in (*fields, *analogue["fields"]):
        first, *later = field["ucd"].split(";")
        assert first in UCD_FIRST, field["name"]
        assert set(later) <= UCD_LATER, field["name"]


def test_a_container_message_is_read_without_anything_else() -> None:
    records = list(fastavro.reader(io.BytesIO(encode_container(VERDICT))))
    assert [from_record(record) for record in records] == [VERDICT]


def test_a_bare_datum_is_read_with_the_schema() -> None:
    record = fastavro.schemaless_reader(io.BytesIO(encode_datum(VERDICT)), verdict_schema(), None)
    assert from_record(record) == VERDICT


def test_a_reader_ignores_a_field_that_a_later_minor_added() -> None:
    record = next(fastavro.reader(io.BytesIO(encode_container(VERDICT))))
    assert from_record(record | {"later": 1}) == VERDICT


def test_json_has_the_schemas_names_and_whole_integers() -> None:
    line = json.loads(to_json(VERDICT))
    assert list(line) == list(Verdict._fields)
    assert line["alert_id"] == 2**62 + 1
    assert line["class_probabilities"] == {"EW": 0.75, "EA": 0.25}
    assert line["received_at"] == "2026-03-01T04:05:06.789Z"
    assert "\n" not in to_json(VERDICT)


def test_json_refuses_a_number_that_is_not_finite() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(VERDICT._replace(anomaly_score=math.nan))


def test_the_identity_depends_on_survey_alert_bundle_and_what_the_operator_chose() -> None:
    identities = {verdict_id(s, a, b) for s in ("ztf", "lsst") for a in (1, 2) for b in ("x", "y")}
    assert len(identities) == 8
    assert verdict_id("ztf", 1, "ab", judged="/uniform") != verdict_id("ztf", 1, "ab")
    assert len({verdict_id("ztf", 1, "ab", revision=each) for each in Revision}) == len(Revision)
    # Fixed for ever: consumers join on it.
    assert verdict_id("ztf", 1, "ab") == "c33e15a2-4911-550d-a73a-ff6e9f3267e9"
