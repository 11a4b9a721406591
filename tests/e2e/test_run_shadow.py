# SPDX-License-Identifier: BSD-3-Clause
"""A shadow scores the same alerts beside the stream, and what befalls it befalls nobody else."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from broker_plugin.bundle import open_bundle
from broker_plugin.errors import ConfigurationError
from broker_plugin.service.consistency import check_service
from broker_plugin.service.settings_sources import load_settings
from tests.e2e.conftest import StartRun
from tests.e2e.service import (
    READY_S,
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
from tests.e2e.test_run_bundles import port_of, wait_for_events
from tests.e2e.test_run_operation import get, metric
from tests.support.bundles import make_bundle
from tests.support.cluster import KafkaCluster
from tests.support.process import ServerProcess, wait_until

pytestmark = pytest.mark.service

BATCHES = 'broker_plugin_shadow_batches_total{outcome="%s"}'


def shadow_process(process: ServerProcess) -> psutil.Process:
    """The shadow's process: the child that runs Python code of ours."""
    assert process._process is not None
    children = psutil.Process(process._process.pid).children()
    (shadow,) = (child for child in children if "spawn_main" in " ".join(child.cmdline()))
    return shadow


def outcome_of(process: ServerProcess, outcome: str) -> float:
    return metric(get(port_of(process), "/metrics")[1], BATCHES % outcome)


def wait_for_shadow(topics: Topics, shadow_topic: str, number: int) -> None:
    wait_until(
        lambda: sum(topics.cluster.end_offsets(shadow_topic).values()) >= number,
        what=f"{number} verdicts of the shadow",
        timeout_s=READY_S,
    )


def test_the_shadow_scores_the_same_alerts_and_both_are_compared(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], data_dir: Path, run: StartRun, tmp_path: Path
) -> None:
    second = make_bundle(tmp_path / "second", temperature=3.0)
    topics = Topics(kafka_broker, topic)
    shadow_topic = kafka_broker.create_topic(topic("shadow"), 1)
    process = run([*topics.flags, "--shadow", str(second), "--shadow-topic", shadow_topic])
    wait_for_event(process, "shadow_opened")
    packets = ztf_packets(data_dir)[:60]
    kafka_broker.produce(topics.input, as_records(packets))
    wait_for_outputs(topics, len(packets), process)
    wait_for_shadow(topics, shadow_topic, len(packets))
    shadow = shadow_process(process)
    assert shadow.nice() == psutil.Process(process.pid).nice() + 10
    assert stop_in_order(process) == 0
    assert not shadow.is_running()
    ours = {verdict_of(record).alert_key: verdict_of(record) for record in topics.verdicts(len(packets))}
    records = kafka_broker.consume_all(shadow_topic, expected=len(packets))
    theirs = {verdict_of(record).alert_key: verdict_of(record) for record in records}
    assert ours.keys() == theirs.keys()
    assert {verdict.bundle_digest for verdict in theirs.values()} == {open_bundle(second).digest}
    assert {str(verdict.tense) for verdict in theirs.values()} == {"test"}
    for key, verdict in ours.items():
        assert theirs[key].inputs_digest == verdict.inputs_digest
        assert theirs[key].anomaly_score == verdict.anomaly_score
        assert theirs[key].verdict_id != verdict.verdict_id
    numbers = tmp_path / "numbers.json"
    command = ["bundles", "compare", "--bootstrap", topics.cluster.bootstrap, "--topic", topics.output]
    command += ["--shadow-topic", shadow_topic, "--quiet-s", "2", "--json", str(numbers)]
    done = subprocess.run(
        broker_plugin_command(*command),
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    comparison = json.loads(numbers.read_text())
    assert comparison["n"] == len(ours)
    assert comparison["same_inputs"] == 1.0
    assert comparison["rank_correlation"] == pytest.approx(1.0)
    assert comparison["distance"]["0.5"] > 0.01  # another temperature


def test_a_shadow_that_hangs_or_dies_harms_nobody(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], data_dir: Path, run: StartRun
) -> None:
    topics = Topics(kafka_broker, topic)
    shadow_topic = kafka_broker.create_topic(topic("shadow"), 1)
    flags = ["--shadow", "default", "--shadow-topic", shadow_topic, "--batch-max", "8", "--metrics-port", "0"]
    process = run([*topics.flags, *flags])
    wait_for_event(process, "shadow_opened")
    packets = ztf_packets(data_dir)[:120]
    shadow_process(process).send_signal(signal.SIGSTOP)
    kafka_broker.produce(topics.input, as_records(packets[:80]))
    wait_for_outputs(topics, 80, process)
    wait_until(lambda: outcome_of(process, "dropped") >= 1, what="a dropped batch")
    shadow_process(process).kill()
    wait_for_event(process, "shadow_failed")
    wait_until(lambda: outcome_of(process, "failed") >= 1, what="a failed batch")
    assert get(port_of(process), "/readyz")[0] == 200
    wait_for_events(process, "shadow_opened", 2)
    scored = outcome_of(process, "scored")
    kafka_broker.produce(topics.input, as_records(packets[80:]))
    wait_for_outputs(topics, 120, process)
    wait_until(lambda: outcome_of(process, "scored") > scored, what="the shadow at work again")
    shadow_process(process).send_signal(signal.SIGSTOP)
    assert stop_in_order(process) == 0
    assert len(topics.verdicts(120)) == 120
    assert not any(event["event"] == "stage_failed" for event in events(process))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"shadow": "default"}, "a shadow needs a bundle and a topic"),
        ({"shadow_topic": "shadow"}, "a shadow needs a bundle and a topic"),
        ({"shadow": "default", "shadow_topic": "out"}, "a topic of something else"),
        ({"shadow": "default", "shadow_topic": "alerts"}, "would read what it writes"),
    ],
)
def test_settings_with_which_a_shadow_cannot_work_are_refused(given: dict[str, str], why: str) -> None:
    usual = {"survey": "ztf", "bootstrap": "127.0.0.1:9", "input": "alerts", "output": "out", "group": "g"}
    with pytest.raises(ConfigurationError, match=why):
        check_service(load_settings({**usual, "dead_letters": "dead", **given}))


def test_a_shadow_that_is_not_there_is_refused_before_the_stream_begins(tmp_path: Path) -> None:
    flags = ["--input", "alerts", "--output", "out", "--dead-letters", "dead", "--group", "g"]
    flags += ["--survey", "ztf", "--bootstrap", "127.0.0.1:9", "--start-deadline-s", "0"]
    done = subprocess.run(
        broker_plugin_command("run", *flags, "--shadow", "/nowhere", "--shadow-topic", "shadow"),
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert "no bundle '/nowhere'" in done.stderr
    assert "Traceback" not in done.stderr
