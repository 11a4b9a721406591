# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin audit` on a real Kafka: a night that is complete, holes made on purpose, duplicates."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)

from broker_plugin.nights import night_of
from tests.e2e.conftest import StartRun
from tests.e2e.service import (
    Topics,
    as_records,
    broker_plugin_command,
    environment,
    source_places,
    stop_in_order,
    wait_for_outputs,
    ztf_packets,
)
from tests.support.cluster import IN_FLIGHT, KafkaCluster, KafkaRecord, Outgoing

pytestmark = pytest.mark.service

N_PACKETS, N_JUNK = 200, 3

COMPACT = {"cleanup.policy": "compact"}

MISSING = 3


class Night:
    """A night that was run, and audits of it."""

    def __init__(self, topics: Topics, ledger: str, folder: Path) -> None:
        self.topics, self.ledger, self.folder = topics, ledger, folder
        self.night: date = night_of("ztf", datetime.now(UTC))

    def audit(self, *flags: str) -> subprocess.CompletedProcess[str]:
        usual = ["--survey", "ztf", "--night", self.night.isoformat(), "--ledger", self.ledger]
        given = [*self.topics.flags, *usual, *flags]
        last_wins = dict(zip(given[::2], given[1::2], strict=True))
        return subprocess.run(
            broker_plugin_command("audit", *(word for pair in last_wins.items() for word in pair)),
            env=environment(self.folder),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def report(self, *flags: str) -> tuple[int, dict[str, Any]]:
        done = self.audit("--format", "json", *flags)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


def copied(cluster: KafkaCluster, name: str, records: Iterable[KafkaRecord], **how: Any) -> str:
    """Make a topic of chosen records of another."""
    cluster.create_topic(name, **how)
    cluster.produce(name, [(record.key, record.value, record.headers) for record in records])
    return name


def in_transactions(topics: Topics, records: list[Outgoing], size: int) -> None:
    """Write records as a survey with transactions would: markers take offsets, and one of them is aborted."""
    producer = Producer(
        {
            "bootstrap.servers": topics.cluster.bootstrap,
            "transactional.id": topics.input,
            "max.in.flight": IN_FLIGHT,
            "linger.ms": 5,
        }
    )
    producer.init_transactions(30.0)
    for begin in range(-size, len(records), size):
        producer.begin_transaction()
        for key, value, _ in records[max(0, begin) : max(0, begin) + size]:
            producer.produce(topics.input, value, key)
        producer.flush(30.0)
        if begin < 0:
            producer.abort_transaction(30.0)
        else:
            producer.commit_transaction(30.0)


@pytest.fixture(params=["at-least-once", "exactly-once"])
def night(
    kafka_broker: KafkaCluster,
    topic: Callable[[str], str],
    data_dir: Path,
    run: StartRun,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Night:
    """A night in whose midst the service was killed once."""
    topics = Topics(kafka_broker, topic)
    ledger = kafka_broker.create_topic(topic("ledger"), config=COMPACT)
    packets = [*sorted(ztf_packets(data_dir), key=len)[:N_PACKETS], *[b"junk"] * N_JUNK]
    records = as_records(packets)
    kafka_broker.produce(topics.input, records[:120])
    in_transactions(topics, records[120:], size=40)
    made = Night(topics, ledger, tmp_path)
    flags = [*topics.flags, "--ledger", ledger, "--batch-max", "16", "--delivery", request.param]
    process = run(flags)
    wait_for_outputs(topics, 50, process)
    process.kill()
    process = run(flags, name="again")
    alerts = kafka_broker.consume_all(topics.input, expected=len(packets))
    behind = {alert.partition: alert.offset + 1 for alert in sorted(alerts, key=lambda alert: alert.offset)}
    process.wait_ready(lambda: is_done(topics, behind), timeout_s=90.0)
    assert stop_in_order(process) == 0
    assert sum(behind.values()) > len(alerts) == len(packets), "no markers among the offsets"
    return made


def is_done(topics: Topics, behind: dict[int, int]) -> bool:
    """Tell whether every partition is committed behind its last message."""
    committed = topics.cluster.group_committed(topics.group, topics.input)
    return all(committed.get(partition, 0) >= offset for partition, offset in behind.items())


def test_a_night_is_complete_until_something_is_taken_out_of_it(
    night: Night, topic: Callable[[str], str]
) -> None:
    topics, cluster = night.topics, night.topics.cluster
    status, report = night.report()
    assert (status, report["complete"], report["over"]) == (0, True, False)
    assert (report["messages"], report["hint"]) == (N_PACKETS + N_JUNK, "")
    assert all(part["differing"] == 0 for part in report["partitions"])
    parts = report["partitions"]
    verdicts, letters = topics.verdicts(N_PACKETS), topics.letters(N_JUNK)
    assert {part["partition"] for part in parts} == set(cluster.partitions(topics.input))
    assert sum(part["messages"] for part in parts) == N_PACKETS + N_JUNK
    assert sum(part["verdicts"] for part in parts) == len(verdicts)
    assert sum(part["dead_letters"] for part in parts) == len(letters)
    twice = len(verdicts) + len(letters) - N_PACKETS - N_JUNK
    assert sum(part["duplicates"] for part in parts) == twice
    assert sum(part["ledger"]["messages"] for part in parts) == N_PACKETS + N_JUNK
    # A repeated verdict may be of a batch of which the killed process wrote no entry any more.
    assert sum(part["ledger"]["redone"] for part in parts) <= twice

    # A verdict that was never written, one that was written twice, and one of another bundle.
    places = source_places(verdicts)
    lost = next(place for place, number in places.items() if number == 1)
    kept = [record for record in verdicts if set(source_places([record])) != {lost}]
    changed = [(name, b"0" * 64 if name == "bundle_digest" else value) for name, value in kept[0].headers]
    other = replace(kept[0], headers=tuple((n, b"other" if n == "verdict_id" else v) for n, v in changed))
    holed = copied(cluster, topic("holed"), [*kept, kept[0], other])
    status, report = night.report("--output", holed)
    assert status == MISSING
    named = {part["partition"]: part["missing"] for part in report["partitions"] if part["missing"]}
    assert named == {lost[0]: [[lost[1], lost[1]]]}
    assert all(part["ledger"]["missing"] == [] for part in report["partitions"])
    assert sum(part["duplicates"] for part in report["partitions"]) == twice + 1
    assert sum(part["differing"] for part in report["partitions"]) == 1
    shown = night.audit("--output", holed)
    assert shown.returncode == MISSING
    assert "NOT complete" in shown.stdout
    assert all(name in shown.stdout for name in ("twice", "differing", "missing")), (
        "the table says what it counts"
    )

    # A partition that the ledger has forgotten.
    entries = cluster.consume_all(night.ledger)
    forgetful = copied(
        cluster,
        topic("forgetful"),
        [entry for entry in entries if (entry.key or b"").split(b"/")[-2] != b"1"],
        config=COMPACT,
    )
    status, report = night.report("--ledger", forgetful)
    assert status == MISSING
    assert [part["partition"] for part in report["partitions"] if part["ledger"]["missing"]] == [1]
    (part,) = [part for part in report["partitions"] if part["ledger"]["missing"]]
    # What holds no message is not named: transactions' markers and an aborted transaction.
    assert sum(last - first + 1 for first, last in part["ledger"]["missing"]) == part["messages"]

    # Of verdicts whose time has not run out an empty topic says nothing; of others the ledger alone is asked.
    ends = cluster.end_offsets(topics.output)
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    for future in admin.delete_records(
        [TopicPartition(topics.output, number, end) for number, end in ends.items()]
    ).values():
        future.result(30.0)
    status, report = night.report()
    missing = sum(last - first + 1 for part in report["partitions"] for first, last in part["missing"])
    assert (status, missing) == (MISSING, N_PACKETS)
    an_hour = ConfigEntry("retention.ms", "3600000", incremental_operation=AlterConfigOpType.SET)
    setting = ConfigResource(ConfigResource.Type.TOPIC, topics.output, incremental_configs=[an_hour])
    for future in admin.incremental_alter_configs([setting]).values():
        future.result(30.0)
    status, report = night.report()
    assert (status, {part["missing"] for part in report["partitions"]}) == (0, {None})


def test_another_night_has_no_messages(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], tmp_path: Path
) -> None:
    topics = Topics(kafka_broker, topic)
    night = Night(topics, kafka_broker.create_topic(topic("ledger"), config=COMPACT), tmp_path)
    night.night -= timedelta(days=30)
    kafka_broker.produce(topics.input, as_records([b"of tonight"]))
    shown = night.audit()
    assert shown.returncode == 0, shown.stderr
    assert "no message of this night" in " ".join(shown.stdout.split())
    status, report = night.report()
    assert (status, report["messages"], report["partitions"]) == (0, 0, [])
    assert "--night" in report["hint"]
