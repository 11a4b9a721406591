# SPDX-License-Identifier: BSD-3-Clause
"""A registry's answers are sorted by what to do: use it, dead-letter, try again, or stop."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fastavro
import pytest
from structlog.testing import capture_logs

from broker_plugin.codec.registry import SchemaRegistry, frame
from broker_plugin.codec.verdict import schema_text
from broker_plugin.errors import ConfigurationError, TransientError
from tests.broker_plugin.codec.registry_server import Answers, answering
from tests.support.process import free_ports

SCHEMA = '{"type":"record","name":"alert","fields":[{"name":"id","type":"long"}]}'
QUICKLY_S = 0.3


def registry_at(url: str) -> SchemaRegistry:
    return SchemaRegistry(url, request_s=QUICKLY_S)


def mock_url() -> str:
    return f"mock://{uuid.uuid4().hex}"


def test_a_mock_registry_is_the_same_for_all_of_a_process() -> None:
    url = mock_url()
    schema_id = SchemaRegistry(url).register_verdict_schema("verdicts-value")
    text = SchemaRegistry(url).schema_text(schema_id)
    assert text is not None
    assert json.loads(text) == json.loads(schema_text())
    assert SchemaRegistry(mock_url()).schema_text(schema_id) is None


def test_registering_again_gives_the_same_id() -> None:
    registry = SchemaRegistry(mock_url())
    first = registry.register_verdict_schema("verdicts-value")
    assert registry.register_verdict_schema("verdicts-value") == first


def test_a_framed_datum_is_read_by_confluents_own_deserializer() -> None:
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroDeserializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    client = SchemaRegistryClient.new_client({"url": mock_url()})
    schema_id = client.register_schema("t-value", Schema(SCHEMA, "AVRO"))
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, json.loads(SCHEMA), {"id": 7})
    read = AvroDeserializer(client)
    assert read(frame(schema_id, buffer.getvalue()), SerializationContext("t", MessageField.VALUE)) == {
        "id": 7
    }


def test_a_schema_is_asked_for_by_id() -> None:
    with answering(Answers(schemas={900: SCHEMA})) as server:
        assert registry_at(server.url).schema_text(900) == SCHEMA
        assert server.asked[0].startswith("GET /schemas/ids/900")


def test_an_unknown_id_is_no_schema() -> None:
    with answering(Answers()) as server:
        assert registry_at(server.url).schema_text(901) is None


@pytest.mark.parametrize("schema_id", [2**31, 2**32 - 1])
def test_an_id_that_no_registry_gives_is_not_asked_for(schema_id: int) -> None:
    with answering(Answers()) as server:
        assert registry_at(server.url).schema_text(schema_id) is None
        assert server.asked == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, "<html>no such page</html>"),
        (404, {"error": "default backend"}),
        (500, {"error_code": 50001, "message": "backend"}),
        (502, "bad gateway"),
        (503, None),
        (429, None),
        (408, None),
    ],
)
def test_a_registry_in_trouble_is_transient(status: int, body: Any) -> None:
    with answering(Answers(status=status, body=body)) as server:
        registry = registry_at(server.url)
        with pytest.raises(TransientError, match="is it up"):
            registry.schema_text(900)
        with pytest.raises(TransientError):
            registry.register_verdict_schema("verdicts-value")


def test_an_answer_that_is_not_a_registrys_is_transient() -> None:
    with answering(Answers(schemas={5: SCHEMA})) as server:
        server.status = 201
        server.body = "<html>welcome to the portal</html>"
        with pytest.raises(TransientError):
            registry_at(server.url).schema_text(5)


def test_nobody_listening_is_transient() -> None:
    (port,) = free_ports(1)
    with pytest.raises(TransientError, match="does not answer"):
        registry_at(f"http://127.0.0.1:{port}").schema_text(900)
    with pytest.raises(TransientError, match="does not answer"):
        registry_at(f"http://127.0.0.1:{port}").register_verdict_schema("verdicts-value")


def test_a_silent_registry_is_given_up_in_bounded_time() -> None:
    with answering(Answers(wait_s=3.0)) as server:
        started = time.monotonic()
        with pytest.raises(TransientError, match="does not answer"):
            registry_at(server.url).schema_text(900)
        # Two attempts of 0.3 s and the wait between them, with room for a busy machine.
        assert time.monotonic() - started < 2.5
        server.wait_s = 0.0


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_stop_the_process(status: int) -> None:
    with answering(Answers(status=status, body={"error_code": status, "message": "no"})) as server:
        url = server.url.replace("http://", "http://me:secret@")
        with pytest.raises(ConfigurationError, match="user:password") as refused:
            registry_at(url).schema_text(900)
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize("status", [409, 422])
def test_a_refused_verdict_schema_stops_the_process(status: int) -> None:
    body = {"error_code": status, "message": "incompatible"}
    with (
        answering(Answers(status=status, body=body)) as server,
        pytest.raises(ConfigurationError, match="refuses our schema"),
    ):
        registry_at(server.url).register_verdict_schema("verdicts-value")


CONFIG = "/config/verdicts-value"
REGISTERED = {"POST /subjects/verdicts-value/versions": (200, {"id": 7})}
WITHOUT_RULE = {f"GET {CONFIG}": (404, {"error_code": 40408, "message": "no compatibility of its own"})}


def test_compatibility_is_set_before_the_schema_is_registered() -> None:
    with answering(Answers(status=422, body={"error_code": 42203}, own=WITHOUT_RULE)) as server:
        with pytest.raises(ConfigurationError):
            registry_at(server.url).register_verdict_schema("verdicts-value")
        assert server.asked == [f"GET {CONFIG}", f"PUT {CONFIG}"]


@pytest.mark.parametrize("level", ["BACKWARD", "NONE"])
def test_a_compatibility_that_is_there_stays(level: str) -> None:
    with answering(
        Answers(own=REGISTERED | {f"GET {CONFIG}": (200, {"compatibilityLevel": level})})
    ) as server:
        assert registry_at(server.url).register_verdict_schema("verdicts-value") == 7
        assert not [asked for asked in server.asked if asked.startswith("PUT")]


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("denied", ["GET", "PUT"])
def test_who_may_register_needs_no_right_to_set_the_compatibility(status: int, denied: str) -> None:
    no = (status, {"error_code": 100 * status + 1, "message": "denied"})
    with answering(Answers(own=REGISTERED | WITHOUT_RULE | {f"{denied} {CONFIG}": no})) as server:
        with capture_logs() as logs:
            assert registry_at(server.url).register_verdict_schema("verdicts-value") == 7
        assert [(log["event"], log["subject"]) for log in logs] == [
            ("compatibility_not_set", "verdicts-value")
        ]


def test_who_may_not_register_is_told_which_right_is_lacking() -> None:
    with (
        answering(Answers(status=403, body={"error_code": 40301, "message": "denied"})) as server,
        pytest.raises(ConfigurationError, match=r"user:password@.*register schemas for 'verdicts-value'"),
    ):
        registry_at(server.url).register_verdict_schema("verdicts-value")


@pytest.mark.parametrize("where", ["url", "argument"])
def test_credentials_are_sent_and_never_shown(where: str) -> None:
    with answering(Answers(schemas={1: SCHEMA})) as server:
        if where == "url":
            registry = registry_at(server.url.replace("http://", "http://me:p%40ss@"))
        else:
            registry = SchemaRegistry(server.url, user_info="me:p@ss", request_s=QUICKLY_S)
        assert registry.schema_text(1) == SCHEMA
        assert server.authorization == ["Basic " + base64.b64encode(b"me:p@ss").decode()]
        assert registry.url == server.url


def test_no_credentials_are_sent_where_none_are_given() -> None:
    with answering(Answers(schemas={1: SCHEMA})) as server:
        registry_at(server.url).schema_text(1)
        assert server.authorization == [None]


@pytest.mark.parametrize("url", ["", "localhost:8081", "ftp://x", "file:///etc/passwd"])
def test_what_is_no_address_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="http://"):
        SchemaRegistry(url)


@pytest.mark.service
def test_a_real_registry_keeps_the_verdict_schema_and_its_rule(registry_url: str) -> None:
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

    registry = SchemaRegistry(registry_url)
    subject = f"verdicts-{uuid.uuid4().hex}-value"
    schema_id = registry.register_verdict_schema(subject)
    assert registry.register_verdict_schema(subject) == schema_id
    text = registry.schema_text(schema_id)
    assert text is not None
    assert json.loads(text)["name"] == "Verdict"
    assert registry.schema_text(2**30) is None
    changed = json.loads(schema_text())
    changed["fields"].append({"name": "required_and_new", "type": "long"})
    with SchemaRegistryClient({"url": registry_url}) as client, pytest.raises(SchemaRegistryError):
        client.register_schema(subject, Schema(json.dumps(changed), "AVRO"))


@pytest.mark.service
def test_processes_that_start_together_make_a_new_subject_together(registry_url: str) -> None:
    subject, number = f"verdicts-{uuid.uuid4().hex}-value", 6
    at_once = threading.Barrier(number)

    def register(_: int) -> int:
        registry = SchemaRegistry(registry_url)
        at_once.wait()
        return registry.register_verdict_schema(subject)

    with ThreadPoolExecutor(number) as pool:
        assert len(set(pool.map(register, range(number)))) == 1


@pytest.mark.service
@pytest.mark.parametrize("made", [False, True], ids=["before the subject is made", "afterwards"])
def test_a_real_registry_keeps_the_rule_that_an_operator_has_set(registry_url: str, made: bool) -> None:
    from confluent_kafka.schema_registry import SchemaRegistryClient

    registry, subject = SchemaRegistry(registry_url), f"verdicts-{uuid.uuid4().hex}-value"
    with SchemaRegistryClient({"url": registry_url}) as client:
        if made:
            registry.register_verdict_schema(subject)
            assert client.get_compatibility(subject) == "FULL_TRANSITIVE"
        client.set_compatibility(subject, "BACKWARD")
        registry.register_verdict_schema(subject)
        assert client.get_compatibility(subject) == "BACKWARD"
