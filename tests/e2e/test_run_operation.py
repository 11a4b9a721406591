# SPDX-License-Identifier: BSD-3-Clause
"""How an operator runs it: settings, exit statuses, health, metrics, a registry for readers."""

from __future__ import annotations

import re
import struct
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from broker_plugin.codec.registry import SchemaRegistry
from broker_plugin.codec.schemas import SchemaStore
from tests.e2e.conftest import StartRun
from tests.e2e.service import (
    Topics,
    as_records,
    broker_plugin_command,
    environment,
    events,
    stop_in_order,
    verdict_of,
    wait_for_event,
    wait_for_outputs,
    ztf_packets,
)
from tests.support.cluster import KafkaCluster
from tests.support.process import wait_until

service = pytest.mark.service

CONFIGURATION, TRANSIENT = 2, 75

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""No proxy of the environment may come between a test and its own process."""


def run_to_its_end(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        broker_plugin_command("run", *arguments),
        env={**environment(folder), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with DIRECT.open(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metric(text: str, name: str) -> float:
    (value,) = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(value)


def test_all_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    done = run_to_its_end(tmp_path, "--survey", "ztf", ASTROM3_GROUP="g")
    assert done.returncode == CONFIGURATION
    for name in ("bootstrap", "input", "output", "dead-letters"):
        assert re.search(rf"--{name} +or ASTROM3_{name.replace('-', '_').upper()}", done.stderr)
    assert "--group" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--store", "oracle"], "choose none, memory, sqlite"),
        (["--start-at", "yesterday"], "is no moment"),
        (["--output", "dead"], "one topic"),
        (["--output", "alerts"], "would read what it writes"),
        (["--input", "^dea.*"], "would read what it writes"),
        (["--access", "everything"], "no access class 'everything'"),
        (["--bundle", "/nowhere"], "no bundle '/nowhere'"),
        (["--registry", "not an address"], "http://"),
        (["--config", "/nowhere.toml"], "cannot read the settings"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, flags: list[str], why: str) -> None:
    usual = {"--input": "alerts", "--output": "out", "--dead-letters": "dead", "--group": "g"}
    usual |= {"--survey": "ztf", "--bootstrap": "127.0.0.1:9", "--start-deadline-s": "0"}
    usual |= dict(zip(flags[::2], flags[1::2], strict=True))
    done = run_to_its_end(tmp_path, *(word for pair in usual.items() for word in pair))
    assert done.returncode == CONFIGURATION, done.stderr
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_broker_it_says_so_and_asks_to_be_tried_again(tmp_path: Path) -> None:
    flags = ["--survey", "ztf", "--bootstrap", "127.0.0.1:9", "--input", "a", "--output", "b"]
    flags += ["--dead-letters", "c", "--group", "g", "--start-deadline-s", "0.5"]
    done = run_to_its_end(tmp_path, *flags)
    assert done.returncode == TRANSIENT
    assert "no Kafka broker answers at 127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


@service
def test_an_unknown_input_topic_is_named(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], tmp_path: Path
) -> None:
    topics = Topics(kafka_broker, topic)
    topics.input = "no-such-topic"
    done = run_to_its_end(tmp_path, "--survey", "ztf", *topics.flags, "--start-deadline-s", "5")
    assert done.returncode == CONFIGURATION
    assert "has no topic no-such-topic" in done.stderr


@service
@pytest.mark.parametrize("mistyped", ["output", "dead_letters", "shadow_topic"])
def test_an_unknown_topic_of_the_output_is_named_and_not_made(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], tmp_path: Path, mistyped: str
) -> None:
    """The cluster of the tests makes topics on demand, as Kafka does unless it is told otherwise."""
    topics, typo = Topics(kafka_broker, topic), topic("typo")
    setattr(topics, mistyped, typo)
    shadow = ["--shadow", "default", "--shadow-topic", typo] if mistyped == "shadow_topic" else []
    done = run_to_its_end(tmp_path, "--survey", "ztf", *topics.flags, *shadow, "--start-deadline-s", "3")
    assert done.returncode == CONFIGURATION
    assert f"has no topic {typo}" in done.stderr
    assert typo not in kafka_broker.topics()


@service
def test_a_file_does_as_well_as_flags(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], data_dir: Path, run: StartRun, tmp_path: Path
) -> None:
    topics = Topics(kafka_broker, topic)
    kafka_broker.produce(topics.input, as_records(ztf_packets(data_dir)[:20]))
    config = tmp_path / "run.toml"
    config.write_text(
        f"""
        bootstrap = "{topics.cluster.bootstrap}"
        input = "^{topics.input[:-2]}.*"
        output = "{topics.output}"
        dead_letters = "{topics.dead_letters}"
        group = "{topics.group}"
        tense = "injection"

        [kafka.source]
        "sasl.password" = "hunter2"
        fetch.wait.max.ms = 50

        [kafka.sink]
        linger_ms = 1
        """
    )
    process = run(["--config", str(config)])
    wait_for_outputs(topics, 20, process)
    assert stop_in_order(process) == 0
    assert {verdict_of(record).tense for record in topics.verdicts(20)} == {"injection"}
    assert "hunter2" not in process.log_path.read_text()


@service
def test_health_and_metrics_tell_what_happens(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], data_dir: Path, run: StartRun
) -> None:
    topics = Topics(kafka_broker, topic)
    kafka_broker.produce(topics.input, [*as_records(ztf_packets(data_dir)[:50]), (b"", b"junk", [])])
    process = run([*topics.flags, "--metrics-port", "0"])
    wait_for_event(process, "health_served")
    (port,) = [event["port"] for event in events(process) if event["event"] == "health_served"]
    assert get(port, "/healthz")[0] == 200
    wait_until(lambda: get(port, "/readyz")[0] == 200, what="readiness", timeout_s=60.0)
    wait_for_outputs(topics, 51, process)
    wait_until(
        lambda: metric(get(port, "/metrics")[1], 'broker_plugin_verdicts_total{survey="ztf"}') == 50,
        what="the metrics of the last batch",
    )
    text = get(port, "/metrics")[1]
    assert metric(text, 'broker_plugin_messages_total{outcome="verdict",survey="ztf"}') == 50
    assert metric(text, 'broker_plugin_messages_total{outcome="dead_letter",survey="ztf"}') == 1
    assert metric(text, 'broker_plugin_dead_letters_total{reason="undecodable"}') == 1
    assert metric(text, 'broker_plugin_stage_seconds_count{stage="score"}') >= 1
    assert metric(text, 'broker_plugin_end_to_end_seconds_count{survey="ztf"}') == 51
    labels = f'survey="ztf",topics="{topics.input}"'
    wait_until(
        lambda: metric(get(port, "/metrics")[1], f"broker_plugin_lag_messages{{{labels}}}") == 0,
        what="no lag",
    )
    assert get(port, "/elsewhere")[0] == 404
    assert stop_in_order(process) == 0


@service
def test_with_a_registry_the_output_is_framed_with_the_registered_schema(
    kafka_broker: KafkaCluster,
    registry_url: str,
    topic: Callable[[str], str],
    data_dir: Path,
    run: StartRun,
    tmp_path: Path,
) -> None:
    topics = Topics(kafka_broker, topic)
    packets = ztf_packets(data_dir)[:20]
    kafka_broker.produce(topics.input, as_records(packets))
    process = run([*topics.flags, "--registry", registry_url])
    wait_for_outputs(topics, len(packets), process)
    assert stop_in_order(process) == 0
    records = topics.verdicts(len(packets))
    registry = SchemaRegistry(registry_url)
    schema_id = registry.register_verdict_schema(f"{topics.output}-value")
    assert {(record.value or b"")[:5] for record in records} == {struct.pack(">bI", 0, schema_id)}
    store = SchemaStore(registry, cache_dir=tmp_path, installed=False)
    assert len({verdict_of(record, store).alert_id for record in records}) == len(packets)


@service
def test_input_and_output_may_be_two_clusters(
    kafka_broker: KafkaCluster,
    private_kafka: Callable[[], KafkaCluster],
    topic: Callable[[str], str],
    data_dir: Path,
    run: StartRun,
) -> None:
    survey, ours = Topics(kafka_broker, topic), Topics(private_kafka(), topic)
    kafka_broker.produce(survey.input, as_records(ztf_packets(data_dir)[:20]))
    flags = [*ours.flags, "--bootstrap", kafka_broker.bootstrap, "--input", survey.input]
    flags = [*("--output-bootstrap", ours.cluster.bootstrap), *_last_wins(flags)]
    process = run(flags)
    wait_for_outputs(ours, 20, process)
    assert stop_in_order(process) == 0
    assert kafka_broker.group_committed(ours.group, survey.input) != {}
    assert len(ours.verdicts(20)) == 20


def _last_wins(flags: list[str]) -> list[str]:
    pairs = dict(zip(flags[::2], flags[1::2], strict=True))
    return [word for pair in pairs.items() for word in pair]
