# SPDX-License-Identifier: BSD-3-Clause
"""What cannot become a verdict becomes a dead letter, on a real Kafka, and stops nothing."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

from tests.e2e.conftest import StartRun
from tests.e2e.service import (
    READY_S,
    Topics,
    dead_letter_headers,
    source_places,
    stop_in_order,
    wait_for_event,
    wait_for_outputs,
    ztf_packets,
)
from tests.support.cluster import KafkaCluster, KafkaRecord, Outgoing

pytestmark = pytest.mark.service

LARGE_BYTES = 50_000_000
EXCERPT = 4096


@pytest.fixture
def defective(data_dir: Path, rng: np.random.Generator) -> dict[str, bytes]:
    """Messages that are no alert, by what is wrong with them."""
    packet = ztf_packets(data_dir)[0]
    return {
        "random": rng.bytes(70_000),
        "truncated": packet[: len(packet) // 2],
        "cut by one byte": packet[:-1],
        "empty": b"",
        "unknown schema id": b"\x00" + (123_456).to_bytes(4, "big") + bytes(50),
        "text": b"hello, is this ZTF?",
        "container of nothing": _container([]),
        "container of something else": _container([{"a": 1}]),
        "large": rng.bytes(LARGE_BYTES),
    }


def _container(records: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    schema = {"type": "record", "name": "Other", "fields": [{"name": "a", "type": "int"}]}
    fastavro.writer(buffer, schema, records)
    return buffer.getvalue()


def by_key(records: list[KafkaRecord]) -> dict[str, KafkaRecord]:
    return {(record.key or b"").decode(): record for record in records}


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_each_defect_is_a_dead_letter_and_none_a_crash(
    kafka_broker: KafkaCluster,
    topic: Callable[[str], str],
    data_dir: Path,
    defective: dict[str, bytes],
    run: StartRun,
    delivery: str,
) -> None:
    topics = Topics(kafka_broker, topic)
    packets = ztf_packets(data_dir)[:30]
    good: list[Outgoing] = [(b"good %d" % n, packet, []) for n, packet in enumerate(packets)]
    bad: list[Outgoing] = [
        (name.encode(), value, [("x", b"\x00y"), ("x", b"")]) for name, value in defective.items()
    ]
    kafka_broker.produce(topics.input, [*good[:15], *bad, *good[15:]])
    process = run([*topics.flags, "--delivery", delivery])
    process.wait_ready(lambda: topics.committed() == len(good) + len(bad), timeout_s=READY_S)
    assert stop_in_order(process) == 0
    letters = topics.letters(len(bad))
    verdicts = topics.verdicts(len(good))
    assert len(verdicts) == len(good)
    assert set(source_places([*letters, *verdicts]).values()) == {1}
    found = by_key(letters)
    assert set(found) == set(defective)
    for name, record in found.items():
        headers, original = dead_letter_headers(record), defective[name]
        assert record.headers[:2] == (("x", b"\x00y"), ("x", b""))
        assert headers["topic"] == topics.input
        assert headers["sha256"] == hashlib.sha256(original).hexdigest()
        assert headers["size"] == str(len(original))
        assert headers["detail"]
        if name == "large":
            assert (record.value, headers["truncated"]) == (original[:EXCERPT], "true")
        else:
            assert ((record.value or b""), headers["truncated"]) == (original, "false")
    reasons = {name: dead_letter_headers(record)["reason"] for name, record in found.items()}
    assert reasons == {
        "random": "undecodable",
        "truncated": "undecodable",
        "cut by one byte": "undecodable",
        "empty": "empty",
        "unknown schema id": "unknown_schema",
        "text": "undecodable",
        "container of nothing": "empty",
        "container of something else": "missing_field",
        "large": "too_large",
    }


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_dead_letter_larger_than_its_topic_takes_is_cut(
    kafka_broker: KafkaCluster,
    topic: Callable[[str], str],
    data_dir: Path,
    run: StartRun,
    rng: np.random.Generator,
    delivery: str,
) -> None:
    topics = Topics(kafka_broker, topic)
    topics.dead_letters = kafka_broker.create_topic(topic("tiny"), max_message_bytes=20_000)
    junk = rng.bytes(60_000)
    good: list[Outgoing] = [(b"", packet, []) for packet in ztf_packets(data_dir)[:5]]
    small: list[Outgoing] = [(b"small %d" % n, b"junk", []) for n in range(3)]
    # One whose headers alone are larger than the topic takes, and one whose key is.
    headed: Outgoing = (b"headed", b"junk", [("h", rng.bytes(30_000))])
    keyed: Outgoing = (rng.bytes(30_000), b"keyed", [])
    kafka_broker.produce(topics.input, [*good, *small, (b"junk", junk, []), headed, keyed])
    process = run([*topics.flags, "--delivery", delivery])
    process.wait_ready(lambda: topics.committed() == 11, timeout_s=60.0)
    assert stop_in_order(process) == 0
    found = topics.letters(6)
    bare = [record for record in found if record.key is None]
    assert sorted(record.value or b"" for record in bare) == [b"junk", b"keyed"]
    assert all(dead_letter_headers(record)["truncated"] == "true" for record in bare)
    letters = by_key(found)
    assert letters["junk"].value == junk[:EXCERPT]
    assert dead_letter_headers(letters["junk"])["sha256"] == hashlib.sha256(junk).hexdigest()
    assert [dead_letter_headers(letters[f"small {n}"])["truncated"] for n in range(3)] == ["false"] * 3
    assert len(topics.verdicts(5)) == 5


def test_private_packets_leave_no_trace_on_topics_or_in_the_log(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], data_dir: Path, run: StartRun
) -> None:
    topics = Topics(kafka_broker, topic)
    packets = ztf_packets(data_dir)[:20]
    private = [_relabelled(packet, programid) for packet in packets[:10] for programid in (2, 3)]
    kafka_broker.produce(
        topics.input,
        [
            *((b"private key", value, [("private header", b"private value")]) for value, _ in private),
            *((b"", packet, []) for packet in packets[10:]),
        ],
    )
    process = run([*topics.flags, "--log-level", "debug"])
    wait_for_outputs(topics, 30, process)
    assert stop_in_order(process) == 0
    letters = topics.letters(20)
    assert {dead_letter_headers(letter)["reason"] for letter in letters} == {"access"}
    assert all(not letter.value and letter.key is None for letter in letters)
    assert len(topics.verdicts(10)) == 10
    written = repr((letters, topics.verdicts(10))) + process.log_path.read_text()
    for value, packet in private:
        candidate = packet["candidate"]
        secrets = [packet["objectId"], str(packet["candid"]), hashlib.sha256(value).hexdigest()]
        secrets += [str(candidate[name]) for name in ("magpsf", "sigmapsf", "ra", "dec")]
        secrets += ["private key", "private header", "private value"]
        assert [secret for secret in secrets if secret in written] == []


def test_a_registry_that_is_away_is_waited_for(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], data_dir: Path, run: StartRun
) -> None:
    topics = Topics(kafka_broker, topic)
    framed = b"\x00" + (123_456).to_bytes(4, "big") + bytes(50)
    # On one partition, so that nothing comes before the message that has to wait.
    records = [(b"", framed, []), *((b"", p, []) for p in ztf_packets(data_dir)[:5])]
    kafka_broker.produce(topics.input, records, partition=0)
    process = run([*topics.flags, "--input-registry", "http://127.0.0.1:9"])
    wait_for_event(process, "stage_failed")
    assert process.alive
    assert topics.committed() == topics.outputs() == 0
    process.kill()
    # Without the registry nobody can ever know the id, so it is a dead letter.
    process = run(topics.flags, name="again")
    wait_for_outputs(topics, 6, process)
    assert stop_in_order(process) == 0
    (letter,) = topics.letters(1)
    assert dead_letter_headers(letter)["reason"] == "unknown_schema"


def _relabelled(value: bytes, programid: int) -> tuple[bytes, dict[str, Any]]:
    reader = fastavro.reader(io.BytesIO(value))
    (packet,) = reader
    assert isinstance(packet, dict)
    for epoch in (packet["candidate"], *(packet["prv_candidates"] or ()), *(packet.get("fp_hists") or ())):
        epoch["programid"] = programid
    # Of its own object and place, so that nothing public says the same.
    packet["objectId"], packet["candid"] = (
        f"ZTF99zz{programid}{packet['objectId'][-5:]}",
        packet["candid"] + 54_321,
    )
    for name in ("magpsf", "sigmapsf", "ra", "dec"):
        packet["candidate"][name] *= 1.000123
    buffer = io.BytesIO()
    fastavro.writer(buffer, json.loads(json.dumps(reader.writer_schema)), [packet])
    return buffer.getvalue(), packet
