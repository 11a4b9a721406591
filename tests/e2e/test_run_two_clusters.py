# SPDX-License-Identifier: BSD-3-Clause
"""The survey's cluster in, ours out: two real Kafkas, of which ours stands still for a while."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import StartRun
from tests.e2e.service import (
    Topics,
    as_records,
    broker_plugin_command,
    dead_letter_headers,
    environment,
    events,
    source_places,
    stop_in_order,
    wait_for_event,
    ztf_packets,
)
from tests.support.cluster import KafkaCluster
from tests.support.kafka import KafkaBroker
from tests.support.memory import peak_mb, resident_mb
from tests.support.process import free_ports

pytestmark = pytest.mark.service

CONFIGURATION = 2

LARGE_BYTES = 8_000_000

GROWTH_MAX_MB = 600
"""By how much the process may grow while its output stands still, whatever waits on the input: one batch of
64 MB, as much taken ahead, as much in the library's queue and in an answer, and the same again for copies.
Seen were 420 MB."""


class TwoClusters(Topics):
    """Topics of which the input is on the survey's cluster and the rest on ours."""

    def __init__(self, survey: KafkaCluster, ours: KafkaCluster, name: Callable[[str], str]) -> None:
        super().__init__(ours, name)
        self.survey = survey
        self.input = survey.create_topic(name("survey"), 3)

    @property
    def flags(self) -> list[str]:
        there = ["--bootstrap", self.survey.bootstrap, "--output-bootstrap", self.cluster.bootstrap]
        return [*there, *super().flags[2:]]

    def committed(self) -> int:
        return sum(self.survey.group_committed(self.group, self.input).values())


@pytest.fixture
def ours(private_kafka: Callable[..., KafkaBroker]) -> KafkaBroker:
    return private_kafka()


@pytest.mark.parametrize(
    "burst", [pytest.param(100, id="800 MB"), pytest.param(400, id="3 GB", marks=pytest.mark.slow)]
)
def test_an_output_that_stands_still_costs_bounded_memory_and_no_message(
    kafka_broker: KafkaCluster,
    ours: KafkaBroker,
    topic: Callable[[str], str],
    data_dir: Path,
    run: StartRun,
    rng: np.random.Generator,
    tmp_path: Path,
    burst: int,
) -> None:
    topics = TwoClusters(kafka_broker, ours, topic)
    packets = ztf_packets(data_dir)[:30]
    kafka_broker.produce(topics.input, as_records(packets))
    # Each cluster has a table of its own: what is the survey's is not told to ours.
    config = tmp_path / "run.toml"
    config.write_text(
        f'[kafka.source]\n"client.id" = "{topics.group}-reader"\n"client.rack" = "survey"\n'
        f'[kafka.sink]\n"client.id" = "{topics.group}-writer"\n"linger.ms" = 1\n'
    )
    (port,) = free_ports(1)
    flags = ["--config", str(config), "--ack-timeout-s", "3", "--metrics-port", str(port)]
    process = run([*topics.flags, *flags, "--accept-rejects", "undecodable"])
    process.wait_ready(lambda: topics.committed() == len(packets), timeout_s=120.0)
    before = resident_mb(process.pid)
    ours.pause()
    junk = rng.bytes(LARGE_BYTES)
    kafka_broker.produce(topics.input, ((b"%d" % n, b"%d" % n + junk, []) for n in range(burst)))
    wait_for_event(process, "stage_failed")
    time.sleep(10.0)  # while it takes in as much as it ever will
    assert topics.committed() == len(packets)
    ours.resume()
    total = len(packets) + burst
    process.wait_ready(lambda: topics.committed() == total, timeout_s=300.0)
    peak = peak_mb(process.pid)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30.0) as page:
        shown = page.read().decode()
    (retries,) = re.findall(r'^broker_plugin_retries_total{stage="produce"} (\S+)$', shown, re.MULTILINE)
    assert float(retries) >= 1
    assert stop_in_order(process) == 0
    sys.stderr.write(f"{burst} x {LARGE_BYTES / 1e6:g} MB: {before:.0f} MB before, {peak:.0f} MB at most\n")
    assert peak - before < GROWTH_MAX_MB
    retried = {found["stage"] for found in events(process) if found["event"] == "stage_failed"}
    assert retried <= {"produce"}
    letters, verdicts = topics.letters(burst), topics.verdicts(len(packets))
    assert {dead_letter_headers(letter)["reason"] for letter in letters} == {"undecodable"}
    ends = kafka_broker.end_offsets(topics.input)
    everything = {(partition, offset) for partition, end in ends.items() for offset in range(end)}
    # At least once: a send that was not acknowledged in time is made again.
    assert set(source_places([*letters, *verdicts])) == everything


def test_exactly_once_over_two_clusters_is_refused_and_over_two_addresses_of_one_is_not(
    kafka_broker: KafkaCluster,
    ours: KafkaBroker,
    topic: Callable[[str], str],
    data_dir: Path,
    run: StartRun,
    tmp_path: Path,
) -> None:
    topics = TwoClusters(kafka_broker, ours, topic)
    flags = ["--survey", "ztf", "--device", "cpu", "--delivery", "exactly-once"]
    done = subprocess.run(
        broker_plugin_command("run", *flags, *topics.flags),
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == CONFIGURATION, done.stderr
    assert "a Kafka transaction cannot span two" in done.stderr
    assert "--delivery at-least-once" in done.stderr
    assert topics.outputs() == 0
    one = Topics(kafka_broker, topic)
    packets = ztf_packets(data_dir)[:5]
    kafka_broker.produce(one.input, as_records(packets))
    other_name = kafka_broker.bootstrap.replace("127.0.0.1", "localhost")
    assert other_name != kafka_broker.bootstrap
    spelt = [*one.flags, "--output-bootstrap", other_name, "--delivery", "exactly-once"]
    process = run(spelt, name="one-cluster")
    process.wait_ready(lambda: one.committed() == len(packets), timeout_s=120.0)
    assert stop_in_order(process) == 0
    assert len(one.verdicts(len(packets))) == len(packets)
    # By that name too it would read what it writes.
    looped = list(spelt)
    looped[looped.index("--output") + 1] = one.input
    done = subprocess.run(
        broker_plugin_command("run", *flags[:4], *looped),
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == CONFIGURATION, done.stderr
    assert "would read what it writes" in done.stderr
