# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin subscribe` shows what was asked for, line by line, and ends when its reader does."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker_plugin.codec.registry import SchemaRegistry
from broker_plugin.codec.verdict import Tense, Verdict, encode_container, to_json
from broker_plugin.engine.scorer import Scorer
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.outbox import Encode, framed
from broker_plugin.streams.base import Message, OutgoingMessage
from broker_plugin.streams.embedded import EmbeddedKafka
from broker_plugin.streams.kafka import KafkaAddress, KafkaSink
from tests.broker_plugin.client.verdicts import a_verdict, retraction_of
from tests.e2e.service import as_records, broker_plugin_command, environment, ztf_packets
from tests.support.cluster import KafkaCluster
from tests.support.process import wait_until
from tests.support.receiver import Answer, Receiver

N_VERDICTS = 60

ENDS_S = 30.0


@pytest.fixture(scope="module")
def address() -> Iterator[KafkaAddress]:
    with EmbeddedKafka() as cluster:
        yield cluster.address


@pytest.fixture(scope="module")
def verdicts(data_dir: Path) -> list[Verdict]:
    """Verdicts of real alerts, as they come off the topic: times in whole milliseconds."""
    messages = [
        Message(topic="alerts", partition=0, offset=n, value=value)
        for n, value in enumerate(ztf_packets(data_dir)[:N_VERDICTS])
    ]
    alert_filter = FilterRecipe(device="cpu").filter(Scorer.open("default", device="cpu"))
    return [v for j in alert_filter.judge(messages, received_at=datetime.now(UTC)) for v in j.verdicts]


@pytest.fixture
def topic() -> str:
    return f"verdicts-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def publish(address: KafkaAddress, topic: str) -> Iterator[Callable[..., None]]:
    sink = KafkaSink(address)

    def send(verdicts: Sequence[Verdict], encode: Encode = encode_container, *, key: str = "") -> None:
        keys = [(key or v.object_id).encode() for v in verdicts]
        sink.send(
            [
                OutgoingMessage(topic=topic, value=encode(v), key=k)
                for k, v in zip(keys, verdicts, strict=True)
            ]
        )

    yield send
    sink.close()


@pytest.fixture
def subscribe(
    address: KafkaAddress, topic: str, tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*flags: str, from_beginning: bool = True, **variables: str) -> subprocess.Popen[str]:
        where = [] if "--bootstrap" in flags else ["--bootstrap", address.bootstrap]
        where += ["--from-beginning"] if from_beginning else []
        started.append(
            subprocess.Popen(
                broker_plugin_command("subscribe", "--topic", topic, *where, *flags),
                env=environment(tmp_path) | variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    output, complaints = process.communicate(timeout=ENDS_S)
    assert process.returncode == 0, complaints
    assert "Traceback" not in complaints
    return output, complaints


def lines(verdicts: Sequence[Verdict]) -> list[str]:
    return sorted(to_json(verdict) for verdict in verdicts)


Publish = Callable[..., None]
Subscribe = Callable[..., subprocess.Popen[str]]


def test_json_lines_are_the_verdicts(publish: Publish, subscribe: Subscribe, verdicts: list[Verdict]) -> None:
    publish(verdicts)
    output, _ = finished(subscribe("--format", "json", "--limit", str(N_VERDICTS)))
    assert sorted(output.splitlines()) == lines(verdicts)


def test_only_what_was_asked_for_is_shown(
    publish: Publish, subscribe: Subscribe, verdicts: list[Verdict]
) -> None:
    publish(verdicts)
    median = sorted(v.anomaly_p_value for v in verdicts)[N_VERDICTS // 2]
    strange = [v for v in verdicts if v.anomaly_p_value <= median]
    process = subscribe("--format", "json", "--max-p-value", repr(median), "--limit", str(len(strange)))
    assert sorted(finished(process)[0].splitlines()) == lines(strange)


def test_what_is_brighter_than_the_reference_image_can_be_asked_for(
    publish: Publish, subscribe: Subscribe, verdicts: list[Verdict]
) -> None:
    publish(verdicts)
    brighter = [v for v in verdicts if v.reference_change_mag is not None and v.reference_change_mag <= -0.1]
    assert 0 < len(brighter) < N_VERDICTS
    process = subscribe("--format", "json", "--min-brightening", "0.1", "--limit", str(len(brighter)))
    assert sorted(finished(process)[0].splitlines()) == lines(brighter)


@pytest.mark.parametrize("age", [timedelta(0), timedelta(days=3)])
def test_the_strangest_are_those_of_the_smallest_p_values(
    publish: Publish, subscribe: Subscribe, verdicts: list[Verdict], age: timedelta
) -> None:
    publish([verdict._replace(emitted_at=verdict.emitted_at - age) for verdict in verdicts])
    stellar = [v for v in verdicts if v.source_context == "stellar"]
    output, _ = finished(subscribe("--strangest", "7", "--format", "json", "--limit", str(len(stellar))))
    best: dict[str, Verdict] = {}
    for verdict in sorted(stellar, key=lambda v: (v.anomaly_p_value, -v.anomaly_score)):
        best.setdefault(verdict.object_id, verdict)
    ranked = list(best.values())[:7]
    found = [json.loads(line) for line in output.splitlines()]
    assert [(v["anomaly_p_value"], v["anomaly_score"]) for v in found] == [
        (v.anomaly_p_value, v.anomaly_score) for v in ranked
    ]


def test_a_ranking_of_tonight_without_a_verdict_of_tonight_says_so(
    publish: Publish, subscribe: Subscribe, verdicts: list[Verdict]
) -> None:
    yesterday = verdicts[0]._replace(emitted_at=verdicts[0].emitted_at - timedelta(days=1, hours=1))
    publish([yesterday])
    flags = ["--strangest", "3", "--context", "any", "--limit", "3"]
    process = subscribe(*flags, from_beginning=False)

    def ended() -> bool:
        publish([yesterday])
        return process.poll() is not None

    wait_until(ended, what="its end", timeout_s=ENDS_S)
    shown, said = finished(process)
    assert shown == ""
    assert "verdicts read, none asked for since the last noon; with --since or --from-beginning" in said


def of_tonight(*p_values: float) -> list[Verdict]:
    """Return verdicts on different objects."""
    now = datetime.now(UTC).replace(microsecond=0)
    parts = {"emitted_at": now, "received_at": now, "tense": Tense.CURRENT}
    return [a_verdict(n, anomaly_p_value=p, inputs_digest=f"{n}", **parts) for n, p in enumerate(p_values)]


def test_a_withdrawn_alert_leaves_the_ranking_though_its_retraction_would_not_fit(
    publish: Publish, subscribe: Subscribe
) -> None:
    gone, next_one = of_tonight(0.1, 0.2)
    publish([gone, next_one, retraction_of(gone, anomaly_p_value=0.9, top_class="EA")], key="in order")
    flags = ["--strangest", "1", "--max-p-value", "0.5", "--context", "any", "--format", "json"]
    output, _ = finished(subscribe(*flags, "--limit", "3"))
    assert output.splitlines() == [to_json(next_one)]


def test_a_webhook_gets_what_moves_up_for_one_that_is_withdrawn(
    publish: Publish, subscribe: Subscribe
) -> None:
    gone, next_one = of_tonight(0.1, 0.2)
    back = retraction_of(gone, anomaly_p_value=0.9)
    flags = ["--strangest", "1", "--max-p-value", "0.5", "--context", "any", "--format", "json"]
    with Receiver(always=Answer()) as receiver:
        publish([gone, next_one, back], key="in order")
        output, _ = finished(subscribe(*flags, "--webhook", receiver.url, "--limit", "3"))
    posted = [body["verdict"]["verdict_id"] for body in receiver.taken]
    assert posted == [each.verdict_id for each in (gone, back, next_one)]
    assert output.splitlines() == [to_json(next_one)]


def test_a_class_that_nobody_knows_is_named_before_any_verdict_comes(
    publish: Publish, subscribe: Subscribe
) -> None:
    publish([])
    process = subscribe("--class", "FOO", "--class", "pulsating")
    assert process.stderr is not None
    said = process.stderr.readline()
    assert "no class or kind 'FOO' is known here; known are " in said
    assert "RRAB" in said
    assert said.endswith("the default bundle has no RRD, no CEP\n")
    process.terminate()
    _, rest = process.communicate(timeout=ENDS_S)
    assert "'pulsating'" not in rest
    assert "no verdict came" in rest


@pytest.mark.parametrize("flags", [[], ["--strangest", str(N_VERDICTS), "--context", "any"]])
def test_a_table_names_every_object(
    publish: Publish, subscribe: Subscribe, verdicts: list[Verdict], flags: list[str]
) -> None:
    publish(verdicts)
    output, _ = finished(subscribe("--limit", str(N_VERDICTS), *flags))
    assert [v.object_id for v in verdicts if v.object_id not in output] == []
    assert "\x1b" not in output  # no colours where nobody sees them


def test_who_begins_in_the_past_is_told_why_nothing_came(
    address: KafkaAddress, subscribe: Subscribe, topic: str
) -> None:
    sink = KafkaSink(address)
    sink.connect([topic], deadline_s=ENDS_S)
    _, said = finished(subscribe("--timeout-s", "1"))
    assert said == "broker-plugin: no verdict came; the topic has no message\n"
    sink.send([OutgoingMessage(topic=topic, value=b"no verdict")] * 3)
    sink.close()
    _, said = finished(subscribe("--timeout-s", "1"))
    assert said.endswith("broker-plugin: no verdict came; 3 messages skipped, which hold none\n")


def test_a_line_comes_at_once_and_sigterm_ends_it(
    publish: Publish, subscribe: Subscribe, verdicts: list[Verdict]
) -> None:
    publish(verdicts[:1])
    process = subscribe("--format", "json")
    assert process.stdout is not None
    assert process.stdout.readline() == to_json(verdicts[0]) + "\n"
    publish(verdicts[1:2])
    assert process.stdout.readline() == to_json(verdicts[1]) + "\n"
    process.send_signal(signal.SIGTERM)
    assert finished(process) == ("", "")


def test_ctrl_c_ends_a_ranking_with_what_it_has(
    publish: Publish, subscribe: Subscribe, verdicts: list[Verdict]
) -> None:
    publish(verdicts[:20])
    process = subscribe("--strangest", "3", "--context", "any")
    assert process.stdout is not None
    assert process.stdout.readline()  # the ranking is there
    process.send_signal(signal.SIGINT)
    finished(process)


def test_a_closed_pipe_ends_it_quietly(
    publish: Publish, subscribe: Subscribe, verdicts: list[Verdict]
) -> None:
    publish(verdicts)
    process = subscribe("--format", "json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    publish(verdicts * 3)
    assert process.wait(ENDS_S) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_what_is_no_verdict_is_skipped_and_an_unknown_class_named(
    publish: Publish, subscribe: Subscribe, verdicts: list[Verdict], address: KafkaAddress, topic: str
) -> None:
    sink = KafkaSink(address)
    sink.send(
        [OutgoingMessage(topic=topic, value=value) for value in (b"junk", b"", b"\x00\x00\x00\x00\x01a")]
    )
    publish(verdicts)
    sink.close()
    process = subscribe(
        "--class",
        "pulsating",
        "--class",
        "nonsense",
        "--min-probability",
        "0",
        "--timeout-s",
        "3",
        "--format",
        "json",
    )
    output, complaints = finished(process)
    assert len(output.splitlines()) == sum(verdict.class_applies for verdict in verdicts) > 0
    assert "a message was skipped" in complaints
    assert "no class 'nonsense'" in complaints
    assert "no class 'pulsating'" not in complaints


@pytest.mark.service
def test_a_group_goes_on_where_it_left_off(
    kafka_broker: KafkaCluster, subscribe: Subscribe, verdicts: list[Verdict], topic: str
) -> None:
    # On a real broker: the embedded one never lets a group in again that was empty once.
    kafka_broker.create_topic(topic, 2)
    kafka_broker.produce(topic, as_records(encode_container(verdict) for verdict in verdicts[:15]))
    flags = ["--bootstrap", kafka_broker.bootstrap, "--group", topic, "--format", "json", "--limit"]
    found = [finished(subscribe(*flags, limit))[0].splitlines() for limit in ("10", "5")]
    assert sorted(found[0] + found[1]) == lines(verdicts[:15])


@pytest.mark.service
def test_a_webhook_gets_each_verdict_though_it_and_the_process_fail(
    kafka_broker: KafkaCluster, subscribe: Subscribe, verdicts: list[Verdict], topic: str
) -> None:
    kafka_broker.create_topic(topic, 2)
    kafka_broker.produce(topic, as_records(encode_container(verdict) for verdict in verdicts[:12]))
    flags = ["--bootstrap", kafka_broker.bootstrap, "--group", topic, "--format", "json"]
    with Receiver(*[Answer()] * 5, Answer(503), Answer(hang_up=True), always=Answer(500)) as receiver:
        first = subscribe(*flags, "--webhook", receiver.url)
        wait_until(lambda: len(receiver.posted) >= 7, what="a failing webhook", timeout_s=ENDS_S)
        first.send_signal(signal.SIGTERM)
        shown, complaints = finished(first)
        assert len(receiver.taken) == len(shown.splitlines()) == 5
        assert "trying again" in complaints
        receiver.always = Answer()
        finished(subscribe(*flags, "--webhook", receiver.url, "--limit", "7"))
    assert sorted(body["verdict"]["verdict_id"] for body in receiver.taken) == sorted(
        verdict.verdict_id for verdict in verdicts[:12]
    )


@pytest.mark.service
def test_a_webhook_that_stays_away_ends_it_after_the_timeout_and_nothing_is_committed(
    kafka_broker: KafkaCluster, subscribe: Subscribe, verdicts: list[Verdict], topic: str
) -> None:
    kafka_broker.create_topic(topic, 1)
    kafka_broker.produce(topic, as_records([encode_container(verdicts[0])]))
    with Receiver(always=Answer(503)) as receiver:
        process = subscribe(
            "--bootstrap",
            kafka_broker.bootstrap,
            "--group",
            topic,
            "--timeout-s",
            "2",
            "--webhook",
            receiver.url,
        )
        _, complaints = process.communicate(timeout=ENDS_S)
    assert process.returncode == 75
    assert "took no verdict for 2 s" in complaints
    assert kafka_broker.group_committed(topic, topic) in ({}, {0: 0})


@pytest.mark.service
def test_a_refusing_webhook_ends_it_and_nothing_is_committed_or_betrayed(
    kafka_broker: KafkaCluster,
    subscribe: Subscribe,
    verdicts: list[Verdict],
    topic: str,
    tmp_path: Path,
) -> None:
    kafka_broker.create_topic(topic, 1)
    kafka_broker.produce(topic, as_records([encode_container(verdicts[0])]))
    secret = tmp_path / "header"
    secret.write_text("X-Token: only-we-know\n")
    with Receiver(Answer(403)) as receiver:
        address = tmp_path / "address"
        address.write_text(f"{receiver.url}/T000/hidden\n")
        flags = ["--bootstrap", kafka_broker.bootstrap, "--group", topic, "--webhook-file", str(address)]
        process = subscribe(*flags, ASTROM3_WEBHOOK_HEADER_FILE=str(secret))
        output, complaints = process.communicate(timeout=ENDS_S)
        assert process.returncode == 2
        assert receiver.posted[0].headers["X-Token"] == "only-we-know"
    assert "secret header" in complaints
    assert not {"only-we-know", "hidden"} & set(re.split(r"\W", output + complaints))
    assert kafka_broker.group_committed(topic, topic) in ({}, {0: 0})


@pytest.mark.service
def test_only_new_objects_of_a_watch_list_across_restarts(
    kafka_broker: KafkaCluster, subscribe: Subscribe, verdicts: list[Verdict], topic: str, tmp_path: Path
) -> None:
    kafka_broker.create_topic(topic, 1)
    watched = sorted({v.object_id for v in verdicts})[:6]
    other = next(v for v in verdicts if v.object_id == watched[-1])
    (tmp_path / "mine.csv").write_text("object_id\n" + "\n".join(watched[:5]) + "\n")
    flags = ["--bootstrap", kafka_broker.bootstrap, "--group", topic, "--format", "json", "--only", "new"]
    flags += [
        "--watch",
        str(tmp_path / "mine.csv"),
        "--memory",
        str(tmp_path / "memory.db"),
        "--timeout-s",
        "2",
    ]
    flags += ["--cone", f"{other.ra_deg},{other.dec_deg},1"]
    said: list[str] = []
    found: list[list[str]] = []
    for _ in range(2):
        kafka_broker.produce(topic, as_records(encode_container(verdict) for verdict in verdicts))
        output, complaints = finished(subscribe(*flags))
        found.append([json.loads(line)["object_id"] for line in output.splitlines()])
        assert all(json.loads(line)["watched"] for line in output.splitlines())
        said.append(complaints)
    assert set(watched) <= set(found[0])
    assert len(found[0]) == len(set(found[0]))
    assert found[1] == []
    assert [f"{N_VERDICTS} verdicts read, none of them asked for" in each for each in said] == [False, True]


@pytest.mark.service
def test_framed_verdicts_are_read_with_the_registry(
    publish: Publish, subscribe: Subscribe, verdicts: list[Verdict], registry_url: str, topic: str
) -> None:
    schema_id = SchemaRegistry(registry_url).register_verdict_schema(f"{topic}-value")
    publish(verdicts[:10], framed(schema_id))
    output, _ = finished(subscribe("--registry", registry_url, "--format", "json", "--limit", "10"))
    assert sorted(output.splitlines()) == lines(verdicts[:10])
