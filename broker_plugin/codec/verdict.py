# SPDX-License-Identifier: BSD-3-Clause
"""The verdict: what is said of an alert, and its Avro and JSON forms."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

from fastavro.types import Schema

from broker_plugin.codec.record_writer import compile_writer
from broker_plugin.codec.topic_schema import topic_schema

__all__ = [
    "Analogue",
    "Revision",
    "Tense",
    "Verdict",
    "encode_container",
    "encode_datum",
    "from_record",
    "schema_text",
    "to_json",
    "to_record",
    "verdict_id",
    "verdict_schema",
]

SCHEMA = "verdict.v1"

VERDICT_NAMESPACE = uuid.UUID("6f0f7a5e-6f5b-5f0c-9d55-3c1f0a6f8a11")
"""Namespace of the name-based verdict ids. Changing it gives every verdict a new identity."""


class Tense(StrEnum):
    """Whether a verdict is about the sky now. Only `current` may trigger a telescope."""

    CURRENT = "current"
    ARCHIVAL = "archival"
    INJECTION = "injection"
    TEST = "test"


class Revision(StrEnum):
    """Whether a verdict is on an alert, or takes one back. `update` is reserved: nothing sets it."""

    INITIAL = "initial"
    UPDATE = "update"
    RETRACTION = "retraction"


class Analogue(NamedTuple):
    """A labelled object whose embedding is near; `cosine` is 1 for the same direction."""

    object_id: str
    label: str
    cosine: float


class Verdict(NamedTuple):
    """What is said of one alert. The fields, and their order, are those of `schemas/verdict.v1.avsc`.

    A tuple, since a batch of them is then a transposed table.
    """

    verdict_id: str
    alert_key: str
    inputs_digest: str
    tense: Tense
    revision: Revision
    survey: str
    alert_id: int
    object_id: str
    ra_deg: float
    dec_deg: float
    mjd_tai: float
    observed_utc: str
    source_context: str
    taxonomy: str
    class_probabilities: Mapping[str, float]
    class_applies: bool
    top_class: str | None
    top_class_probability: float | None
    class_set: tuple[str, ...]
    class_prior: str
    decision_rule: str
    anomaly_score: float
    anomaly_p_value: float
    anomaly_scores: Mapping[str, float]
    anomaly_p_values: Mapping[str, float]
    expected_per_night: float | None
    calibration_n: int
    calibration_stratum: str
    modalities: tuple[str, ...]
    n_epochs: int
    n_epochs_by_band: Mapping[str, int]
    history_origin: str
    n_stored_epochs: int | None
    context_sources: tuple[str, ...]
    reference_change_mag: float | None
    period_day: float | None
    period_false_alarm_probability: float | None
    period_aliases_day: tuple[float, ...]
    period_epochs: int
    analogues: tuple[Analogue, ...]
    explanation: str
    embedding: tuple[float, ...] | None
    quality_flags: tuple[str, ...]
    oddities: Mapping[str, float]
    bundle_name: str
    bundle_digest: str
    feature_spec_version: str
    plugin_version: str
    provider: str
    precision: str
    received_at: datetime
    emitted_at: datetime

    @property
    def is_retraction(self) -> bool:
        """Whether this takes back an earlier verdict on the same alert: the survey withdrew the detection."""
        return self.revision is Revision.RETRACTION


BEFORE: Mapping[str, Any] = MappingProxyType(
    {"decision_rule": "argmax", "n_stored_epochs": None, "context_sources": (), "reference_change_mag": None}
)
"""What the fields that came later are in a verdict of before."""

PLAIN = frozenset({bool, datetime, float, int, str, type(None)})
"""Types of fields that are the same in a verdict and in its record."""

OWN_TEXTS = frozenset(
    {"verdict_id", "alert_key", "inputs_digest", "object_id", "observed_utc", "explanation"}
)
"""Texts that are hardly ever the same in two verdicts."""


def verdict_id(
    survey: str,
    alert_id: int,
    bundle_digest: str,
    *,
    judged: str = "",
    revision: Revision = Revision.INITIAL,
) -> str:
    """Return the identity of the verdict of one bundle on one alert: the same in every replay.

    Parameters
    ----------
    judged
        What the operator chose in place of the bundle's own class prior and decision rule, empty for nothing.
    revision
        A retraction is no repetition of the verdict that it takes back.

    Examples
    --------
    >>> verdict_id("ztf", 1, "ab") == verdict_id("ztf", 1, "ab") != verdict_id("lsst", 1, "ab")
    True
    >>> verdict_id("lsst", 1, "ab", revision=Revision.RETRACTION) == verdict_id("lsst", 1, "ab")
    False
    """
    revised = "" if revision is Revision.INITIAL else f"#{revision}"
    named = f"{survey}:{alert_id}:{bundle_digest}{judged}{revised}".encode()
    # `uuid.uuid5`, without the object that is only made to be printed.
    octets = bytearray(hashlib.sha1(VERDICT_NAMESPACE.bytes + named, usedforsecurity=False).digest()[:16])
    octets[6] = octets[6] & 0x0F | 0x50
    octets[8] = octets[8] & 0x3F | 0x80
    text = octets.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def schema_text() -> str:
    """Return the verdict schema as JSON text, with docs, units and UCDs."""
    return topic_schema(SCHEMA).text


def verdict_schema() -> Schema:
    """Return the parsed verdict schema."""
    return topic_schema(SCHEMA).parsed


def to_record(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as the Avro record of the verdict schema."""
    record: dict[str, Any] = dict(zip(verdict._fields, map(_plain, verdict), strict=True))
    record["analogues"] = [near._asdict() for near in verdict.analogues]
    return record


def from_record(record: Mapping[str, Any]) -> Verdict:
    """Return the verdict of an Avro record of any minor version.

    Fields that a later one added are ignored, of the analogues too; those that an earlier one lacked have
    their defaults. A symbol that a later one added is the schema's default, as any reader of Avro takes it: a
    tense that is not known is `test`, on which nobody acts.
    """
    known = {name: record[name] for name in Verdict._fields if name in record or name not in BEFORE}
    known = {**BEFORE, **known}
    known |= {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
    known |= {name: _symbol(enum, known[name]) for name, enum in _enums().items()}
    known["tense"] = Tense(known["tense"])
    known["revision"] = Revision(known["revision"])
    known["analogues"] = tuple(
        Analogue(*(near[name] for name in Analogue._fields)) for near in record["analogues"]
    )
    return Verdict(**known)


def encode_datum(verdict: Verdict) -> bytes:
    """Return a verdict as bare Avro, to be framed with a registry's schema id."""
    return _writer()(verdict)


def encode_container(verdict: Verdict) -> bytes:
    """Return a verdict as an Avro container file of one record, which needs nothing else to be read."""
    return topic_schema(SCHEMA).contained(_writer()(verdict))


def to_json(verdict: Verdict) -> str:
    """Return a verdict as one line of JSON with the schema's field names; times are ISO 8601 in UTC.

    Raises
    ------
    ValueError
        If a number is not finite.
    """
    record = to_record(verdict)
    for name in ("received_at", "emitted_at"):
        record[name] = record[name].astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps(record, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


@cache
def _enums() -> dict[str, Mapping[str, Any]]:
    """Return the fields that are one of some symbols, with those and the default among them."""
    types = {field["name"]: field["type"] for field in json.loads(schema_text())["fields"]}
    return {name: kind for name, kind in types.items() if isinstance(kind, dict) and kind["type"] == "enum"}


def _symbol(enum: Mapping[str, Any], symbol: str) -> str:
    return symbol if symbol in enum["symbols"] else str(enum["default"])


@cache
def _writer() -> Callable[[Verdict], bytes]:
    return compile_writer(topic_schema(SCHEMA).parsed, unique=OWN_TEXTS)


def _plain(value: Any) -> Any:
    if type(value) in PLAIN:
        return value
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return value
