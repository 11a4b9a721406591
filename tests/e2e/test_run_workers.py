# SPDX-License-Identifier: BSD-3-Clause
"""`run --workers N` on a real Kafka: the verdicts of one process, whoever dies, and an end in order."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import StartRun
from tests.e2e.service import (
    READY_S,
    Topics,
    all_places,
    as_records,
    dead_letter_headers,
    events,
    source_places,
    stop_in_order,
    verdict_of,
    ztf_packets,
)
from tests.support.cluster import KafkaCluster
from tests.support.process import ServerProcess, free_ports, port_open, wait_until

pytestmark = pytest.mark.service

PARTITIONS = 8

N_PACKETS = 240

SMALL_BATCHES = ["--batch-max", "16", "--batch-age-s", "0.05"]

STABLE = ("received_at", "emitted_at")
"""What differs between two runs: when they were."""


@pytest.fixture(scope="module")
def packets(data_dir: Path) -> tuple[bytes, ...]:
    """Some packets with long histories and some with short ones, and bytes that are none."""
    return (*ztf_packets(data_dir)[:: len(ztf_packets(data_dir)) // N_PACKETS][:N_PACKETS], b"no packet")


@pytest.fixture
def topics(kafka_broker: KafkaCluster, topic: Callable[[str], str], packets: tuple[bytes, ...]) -> Topics:
    made = Topics(kafka_broker, topic, partitions=PARTITIONS)
    kafka_broker.produce(made.input, as_records(packets))
    return made


def started(process: ServerProcess) -> dict[int, int]:
    """Return the process that fills each worker's place now."""
    return {found["worker"]: found["pid"] for found in events(process) if found["event"] == "worker_started"}


def serving(process: ServerProcess) -> list[dict[str, object]]:
    return [found for found in events(process) if found["event"] == "started"]


def finish(process: ServerProcess, topics: Topics, number: int) -> None:
    process.wait_ready(lambda: topics.committed() == number, timeout_s=2 * READY_S)


@pytest.mark.parametrize("workers", [2, 4])
def test_any_number_of_workers_gives_the_verdicts_of_one(
    run: StartRun,
    topics: Topics,
    packets: tuple[bytes, ...],
    workers: int,
    verdicts_of_one: dict[str, object],
) -> None:
    process = run([*topics.flags, *SMALL_BATCHES, "--workers", str(workers)])
    process.wait_ready(lambda: len(serving(process)) == workers, timeout_s=2 * READY_S)
    finish(process, topics, len(packets))
    assert stop_in_order(process) == 0
    records = topics.verdicts(N_PACKETS)
    assert len(records) == N_PACKETS
    assert said(records) == verdicts_of_one
    (letter,) = topics.letters(1)
    assert dead_letter_headers(letter)["reason"] == "undecodable"
    names = {found["instance"] for found in serving(process)}
    assert len(names) == workers


def said(records: list[object]) -> dict[str, object]:
    """Return what the verdicts say, by alert."""
    found = {}
    for record in records:
        verdict = verdict_of(record)  # type: ignore[arg-type]
        found[verdict.alert_key] = {
            name: getattr(verdict, name) for name in verdict.__slots__ if name not in STABLE
        }
    return found


@pytest.fixture(scope="module")
def verdicts_of_one(packets: tuple[bytes, ...]) -> dict[str, object]:
    """What the scorer says of the same packets in this process, without Kafka."""
    from broker_plugin.benchmark.whole_way import messages_of
    from broker_plugin.pipeline.assembly import FilterRecipe

    recipe = FilterRecipe(device="cpu", surveys=("ztf",))
    judgements = recipe.filter(recipe.scorer()).judge(messages_of(packets))
    verdicts = [verdict for judgement in judgements for verdict in judgement.verdicts]
    return {
        verdict.alert_key: {name: getattr(verdict, name) for name in verdict.__slots__ if name not in STABLE}
        for verdict in verdicts
    }


def test_a_killed_worker_is_started_again_under_its_name_and_nothing_is_lost(
    run: StartRun, topics: Topics, packets: tuple[bytes, ...]
) -> None:
    """With transactions: the next one of the name must end the one that the killed worker left open."""
    port, _ = neighbours()
    flags = ["--workers", "2", "--instance", "vm", "--delivery", "exactly-once", "--metrics-port", str(port)]
    process = run([*topics.flags, *SMALL_BATCHES, *flags])
    process.wait_ready(lambda: len(serving(process)) == 2, timeout_s=2 * READY_S)
    assert all(b"broker_plugin_ready" in metrics(each) for each in (port, port + 1)), "each has its own"
    first = started(process)
    os.kill(first[1], signal.SIGKILL)
    process.wait_ready(lambda: started(process)[1] != first[1], timeout_s=READY_S)
    finish(process, topics, len(packets))
    assert stop_in_order(process) == 0
    assert {found["instance"] for found in serving(process)} == {"vm-0", "vm-1"}
    assert started(process)[0] == first[0], "the other was left alone"
    places = source_places([*topics.verdicts(N_PACKETS, isolation="read_committed"), *topics.letters(1)])
    assert set(places) == all_places(topics)
    assert set(places.values()) == {1}


def metrics(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        content: bytes = answer.read()
    return content


def neighbours() -> tuple[int, int]:
    """Return two free ports, one next to the other."""
    while True:
        (port,) = free_ports(1)
        if not port_open(port + 1):
            return port, port + 1


def test_settings_that_cannot_work_end_all_workers(run: StartRun, topics: Topics) -> None:
    process = run([*topics.flags, "--workers", "2", "--bundle", "there-is-none"])
    wait_until(lambda: not process.alive, timeout_s=2 * READY_S, what="its end")
    assert process._process is not None
    assert process._process.returncode == 2
    assert "there-is-none" in process.log_path.read_text("utf-8")


def test_workers_end_with_their_parent_however_it_ends(
    run: StartRun, kafka_broker: KafkaCluster, topic: Callable[[str], str]
) -> None:
    process = run([*Topics(kafka_broker, topic, partitions=2).flags, "--workers", "3"])
    process.wait_ready(lambda: len(serving(process)) == 3, timeout_s=2 * READY_S)
    (warning,) = [each for each in events(process) if each["event"] == "more_workers_than_partitions"]
    assert (warning["workers"], warning["partitions"]) == (3, 2)
    workers = started(process).values()
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: all(is_gone(pid) for pid in workers), timeout_s=10.0, what="their end")


def is_gone(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text("utf-8")  # nobody has looked after it yet
    except OSError:
        return True
