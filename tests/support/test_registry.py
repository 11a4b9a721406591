# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

pytestmark = pytest.mark.service

INCOMPATIBLE = 409
"""The HTTP status with which a registry refuses a schema."""


@pytest.fixture
def client(registry_url: str) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": registry_url}) as client:
        yield client


@pytest.fixture
def subject(client: SchemaRegistryClient) -> str:
    name = f"verdicts-{uuid.uuid4().hex}-value"
    client.register_schema(name, schema(SCORE))
    client.set_compatibility(name, "FULL_TRANSITIVE")
    return name


SCORE = {"name": "anomaly_score", "type": "double", "unit": "1", "ucd": "stat.value"}
NULLABLE = {"name": "period_d", "type": ["null", "double"], "default": None}
REQUIRED = {"name": "period_d", "type": "double"}


def schema(*fields: dict[str, Any]) -> Schema:
    return Schema(json.dumps({"type": "record", "name": "Verdict", "fields": fields}), "AVRO")


def test_a_schema_is_found_by_its_id_with_its_units(client: SchemaRegistryClient, subject: str) -> None:
    latest = client.get_latest_version(subject)
    assert latest.schema_id is not None
    found = client.get_schema(latest.schema_id).schema_str
    assert found is not None
    assert json.loads(found)["fields"] == [SCORE]


def test_the_same_schema_keeps_its_id(client: SchemaRegistryClient, subject: str) -> None:
    assert client.register_schema(subject, schema(SCORE)) == client.get_latest_version(subject).schema_id


def test_a_nullable_field_may_be_added(client: SchemaRegistryClient, subject: str) -> None:
    client.register_schema(subject, schema(SCORE, NULLABLE))
    assert client.get_latest_version(subject).version == 2


@pytest.mark.parametrize("fields", [(SCORE, REQUIRED), (), (SCORE | {"type": "string"},)])
def test_an_incompatible_schema_is_refused(
    client: SchemaRegistryClient, subject: str, fields: tuple[dict[str, Any], ...]
) -> None:
    with pytest.raises(SchemaRegistryError) as refused:
        client.register_schema(subject, schema(*fields))
    assert refused.value.http_status_code == INCOMPATIBLE
    assert client.get_latest_version(subject).version == 1
