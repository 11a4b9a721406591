# SPDX-License-Identifier: BSD-3-Clause
"""Killed, stopped, restarted, cut off from its broker: `broker-plugin run` loses nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.pipeline.ledger import Stretch
from broker_plugin.pipeline.ledger_reader import LedgerReader, covered
from broker_plugin.pipeline.offset_ranges import OffsetRanges
from broker_plugin.streams.base import Message
from broker_plugin.streams.ownership import Place
from tests.e2e.conftest import StartRun
from tests.e2e.service import (
    READY_S,
    Topics,
    all_places,
    as_records,
    events,
    source_places,
    stop_in_order,
    wait_for_event,
    wait_for_outputs,
    ztf_packets,
)
from tests.support.cluster import KafkaCluster
from tests.support.kafka import KafkaBroker
from tests.support.process import ServerProcess, wait_until

pytestmark = pytest.mark.service

SMALL_BATCHES = ["--batch-max", "16", "--batch-age-s", "0.05"]
"""A batch is done in tens of milliseconds, so that a kill hits the stream in its middle."""

EXACTLY_ONCE = ["--delivery", "exactly-once"]

SHORT_SESSIONS = {
    "group.consumer.session.timeout.ms": "5000",
    "group.consumer.min.session.timeout.ms": "5000",
    "group.consumer.heartbeat.interval.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "1000",
}
"""A KIP-848 broker gives a killed member's partitions away when its session has run out, by default 45 s."""

CLASSIC_SESSION_S = 6
"""The shortest that a broker allows by default."""

N_PACKETS = 1000

FINISH_S = 90.0

ACK_TIMEOUT_S = 120.0
"""Of a process that is killed in a transaction, which then lives ten seconds longer than this."""

TRY_AGAIN = 75
"""Exit status by which a supervisor knows that nothing is wrong with the settings."""


@pytest.fixture
def packets(data_dir: Path) -> tuple[bytes, ...]:
    """The smallest packets: these tests are about numbers."""
    return tuple(sorted(ztf_packets(data_dir), key=len))[:N_PACKETS]


def wait_until_committed(topics: Topics, process: ServerProcess) -> None:
    """Wait until all input is done, while seeing that no offset runs ahead of its output."""

    def done() -> bool:
        committed = topics.committed()
        assert committed <= topics.outputs()
        return committed == N_PACKETS

    process.wait_ready(done, timeout_s=FINISH_S)


def ledger_stretches(broker: KafkaCluster, ledger: str, topics: Topics) -> dict[Place, list[Stretch]]:
    """Return what the ledger says of the input, by topic and partition."""
    reader = LedgerReader(topics.group, SchemaStore(installed=False))
    for record in broker.consume_all(ledger):
        reader.take(
            Message(
                topic=ledger,
                partition=record.partition,
                offset=record.offset,
                value=record.value or b"",
                key=record.key,
            )
        )
    return reader.by_place()


def group_by_partition(places: set[tuple[int, int]]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for partition, offset in places:
        found.setdefault(partition, []).append(offset)
    return found


def has_partitions(process: ServerProcess) -> bool:
    """Tell whether the group has given a process a share."""
    return any(e["event"] == "partitions_assigned" and e["partitions"] for e in events(process))


def kill_in_a_transaction(process: ServerProcess, topics: Topics) -> None:
    """Kill a process while a transaction of its on the output is open."""
    running = process._process
    assert running is not None
    deadline = time.monotonic() + FINISH_S
    while time.monotonic() < deadline:
        running.send_signal(signal.SIGSTOP)  # so that what is seen stays so
        if topics.cluster.has_open_transaction(topics.output):
            time.sleep(0.2)  # the last request may have been on its way
            if topics.cluster.has_open_transaction(topics.output):
                process.kill()
                return
        running.send_signal(signal.SIGCONT)
        time.sleep(0.01)
    raise AssertionError("never in a transaction")


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_kill_and_restart_lose_nothing_and_repeat_under_the_same_identity(
    private_kafka: Callable[..., KafkaBroker],
    topic: Callable[[str], str],
    packets: tuple[bytes, ...],
    run: StartRun,
    protocol: str,
) -> None:
    broker = private_kafka(SHORT_SESSIONS)
    topics = Topics(broker, topic)
    broker.produce(topics.input, as_records(packets))
    flags = [*topics.flags, *SMALL_BATCHES, "--group-protocol", protocol]
    for target in (150, 500):
        process = run(flags)
        wait_for_outputs(topics, target, process)
        process.kill()
        assert topics.committed() < N_PACKETS, "killed too late to prove anything"
    process = run(flags)
    wait_until_committed(topics, process)
    assert stop_in_order(process) == 0
    records = topics.verdicts(N_PACKETS)
    assert set(source_places(records)) == all_places(topics)
    assert topics.letters(0) == []
    identities: dict[tuple[bytes, bytes], set[bytes]] = {}
    for record in records:
        headers = dict(record.headers)
        place = (headers["source_partition"], headers["source_offset"])
        identities.setdefault(place, set()).add(headers["verdict_id"])
    assert {len(ids) for ids in identities.values()} == {1}


def test_exactly_once_survives_kills(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], packets: tuple[bytes, ...], run: StartRun
) -> None:
    """Whenever it is killed; a transaction that is left open is ended by the next start."""
    topics = Topics(kafka_broker, topic)
    with_junk = [*packets[: N_PACKETS - 3], b"junk", b"", packets[0][:-40]]
    kafka_broker.produce(topics.input, as_records(with_junk))
    flags = [*topics.flags, *SMALL_BATCHES, *EXACTLY_ONCE, "--ack-timeout-s", f"{ACK_TIMEOUT_S:g}"]
    for target in (150, 300):
        process = run(flags)
        wait_for_outputs(topics, target, process)
        process.kill()
    process = run(flags)
    wait_for_outputs(topics, 450, process)
    kill_in_a_transaction(process, topics)
    killed = time.monotonic()
    process = run(flags)
    # Readers see nothing behind the open transaction, and the group no offsets, until it is ended: by the
    # next holder of its name, or by the broker when its time has run out.
    verdicts = topics.verdicts(N_PACKETS - 3, timeout_s=FINISH_S)
    process.wait_ready(lambda: topics.committed() == N_PACKETS, timeout_s=FINISH_S)
    assert time.monotonic() - killed < ACK_TIMEOUT_S
    assert stop_in_order(process) == 0
    places = source_places([*verdicts, *topics.letters(3)])
    assert set(places) == all_places(topics)
    assert set(places.values()) == {1}


def test_a_stop_is_orderly_and_the_next_start_goes_on_behind_it(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], packets: tuple[bytes, ...], run: StartRun
) -> None:
    topics = Topics(kafka_broker, topic)
    kafka_broker.produce(topics.input, as_records(packets))
    flags = [*topics.flags, *SMALL_BATCHES]
    process = run(flags)
    wait_for_outputs(topics, 200, process)
    begun = time.monotonic()
    assert stop_in_order(process) == 0
    assert time.monotonic() - begun < 10.0  # one batch and the farewell to the group
    assert "stopped" in {event["event"] for event in events(process)}
    assert topics.committed() == topics.outputs() < N_PACKETS
    process = run(flags, name="again")
    wait_until_committed(topics, process)
    assert stop_in_order(process) == 0
    places = source_places(topics.verdicts(N_PACKETS))
    assert set(places) == all_places(topics)
    assert set(places.values()) == {1}


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_broker_that_goes_away_and_comes_back_is_waited_for(
    private_kafka: Callable[..., KafkaBroker],
    topic: Callable[[str], str],
    packets: tuple[bytes, ...],
    run: StartRun,
    delivery: str,
) -> None:
    broker = private_kafka()
    topics = Topics(broker, topic)
    broker.produce(topics.input, as_records(packets))
    ledger = broker.create_topic(topic("ledger"), config={"cleanup.policy": "compact"})
    flags = [*topics.flags, *SMALL_BATCHES, "--delivery", delivery, "--ack-timeout-s", "3"]
    flags += ["--ledger", ledger]
    process = run(flags)
    wait_for_outputs(topics, 200, process)
    broker.kill()
    wait_for_event(process, "stage_failed")
    broker.restart()
    process.wait_ready(lambda: topics.committed() == N_PACKETS, timeout_s=FINISH_S)
    assert stop_in_order(process) == 0
    places = source_places(topics.verdicts(N_PACKETS))
    assert set(places) == all_places(topics)
    assert topics.letters(0) == []
    stretches = ledger_stretches(broker, ledger, topics)
    for partition, offsets in group_by_partition(all_places(topics)).items():
        assert covered(stretches[topics.input, partition]) == OffsetRanges.of_offsets(offsets)
    if delivery == "exactly-once":
        assert set(places.values()) == {1}
        recorded = sum(stretch.messages for found in stretches.values() for stretch in found)
        assert recorded == len(all_places(topics))


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_stop_while_the_broker_is_away_is_bounded_and_loses_nothing(
    private_kafka: Callable[..., KafkaBroker],
    topic: Callable[[str], str],
    packets: tuple[bytes, ...],
    run: StartRun,
    delivery: str,
) -> None:
    broker = private_kafka()
    topics = Topics(broker, topic)
    broker.produce(topics.input, as_records(packets))
    flags = [*topics.flags, *SMALL_BATCHES, "--delivery", delivery]
    process = run([*flags, "--ack-timeout-s", "2", "--stop-deadline-s", "3"])
    wait_for_outputs(topics, 200, process)
    broker.kill()
    wait_for_event(process, "stage_failed")
    assert stop_in_order(process) == TRY_AGAIN  # within its patience of 30 s
    assert "uncommitted" in process.tail()
    broker.restart()
    process = run(flags, name="again")
    wait_until_committed(topics, process)
    assert stop_in_order(process) == 0
    places = source_places(topics.verdicts(N_PACKETS))
    assert set(places) == all_places(topics)
    if delivery == "exactly-once":
        assert set(places.values()) == {1}


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_two_processes_share_the_stream_and_one_takes_over(
    kafka_broker: KafkaCluster,
    topic: Callable[[str], str],
    packets: tuple[bytes, ...],
    run: StartRun,
    tmp_path: Path,
    protocol: str,
) -> None:
    topics = Topics(kafka_broker, topic, partitions=4)
    flags = [*topics.flags, *SMALL_BATCHES, "--group-protocol", protocol]
    if protocol == "classic":
        # A member with a name keeps its partitions over its end, until its session has run out.
        config = tmp_path / "run.toml"
        config.write_text(f'[kafka.source]\n"session.timeout.ms" = {CLASSIC_SESSION_S * 1000}\n')
        flags += ["--config", str(config)]
    first, second = run(flags, name="first"), run(flags, name="second")
    for process in (first, second):
        process.wait_ready(lambda process=process: has_partitions(process), timeout_s=READY_S)
    half = as_records(packets)[: N_PACKETS // 2]
    kafka_broker.produce(topics.input, half)
    first.wait_ready(lambda: topics.committed() == len(half), timeout_s=FINISH_S)
    instances = {e["instance"] for p in (first, second) for e in events(p) if e["event"] == "started"}
    assert len(instances) == 2
    assert {e["event"] for e in events(second)} >= {"batch_delivered"}
    assert stop_in_order(first) == 0
    stopped = time.monotonic()
    kafka_broker.produce(topics.input, as_records(packets)[N_PACKETS // 2 :])
    second.wait_ready(lambda: topics.committed() == N_PACKETS, timeout_s=FINISH_S)
    if protocol == "classic":
        assert time.monotonic() - stopped > CLASSIC_SESSION_S / 2  # else the name did not hold them
    assert stop_in_order(second) == 0
    places = source_places(topics.verdicts(N_PACKETS))
    assert set(places) == all_places(topics)
    assert set(places.values()) == {1}


def test_a_second_process_of_one_name_is_refused(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], run: StartRun
) -> None:
    topics = Topics(kafka_broker, topic)
    flags = [*topics.flags, "--instance", "one"]
    first = run(flags, name="first")
    wait_for_event(first, "started")
    second = run(flags, name="second")
    wait_until(lambda: not second.alive, what="its end", timeout_s=READY_S)
    assert "give each its own name" in second.tail()
    assert first.alive
    assert stop_in_order(first) == 0
