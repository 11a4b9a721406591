# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin run` with a store: killed, it says the same again; without its Redis, it goes on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.verdict import Verdict
from broker_plugin.records import Provenance, QualityFlag
from broker_plugin.surveys.registry import adapters
from tests.e2e.conftest import StartRun
from tests.e2e.service import (
    READY_S,
    Topics,
    all_places,
    as_records,
    source_places,
    stop_in_order,
    verdict_of,
    wait_for_event,
    wait_for_outputs,
    ztf_packets,
)
from tests.support.cluster import KafkaCluster
from tests.support.redis import RedisServer

pytestmark = pytest.mark.service

SMALL_BATCHES = ["--batch-max", "16", "--batch-age-s", "0.05", "--store-timeout-s", "20"]

N_PACKETS = 240


@pytest.fixture(scope="module")
def packets(data_dir: Path) -> tuple[bytes, ...]:
    """Alerts of objects that have several, in order of time, each alert once."""
    decoder = Decoder(schemas=SchemaStore(), adapters=adapters(["ztf"]))
    of_object: dict[str, dict[int, tuple[float, bytes]]] = defaultdict(dict)
    for packet in ztf_packets(data_dir):
        for alert in decoder.decode(packet, Provenance(topic="test")):
            of_object[alert.object_id][alert.alert_id] = alert.mjd_tai, packet
    several = [alert for alerts in of_object.values() if len(alerts) > 1 for alert in alerts.items()]
    several.sort(key=lambda alert: (alert[1][0], alert[0]))
    return tuple(packet for _, (_, packet) in several[:N_PACKETS])


def verdicts_of(topics: Topics, number: int) -> list[Verdict]:
    return [verdict_of(record) for record in topics.verdicts(number)]


def test_a_run_that_is_killed_says_of_every_alert_what_it_would_have_said(
    kafka_broker: KafkaCluster,
    topic: Callable[[str], str],
    packets: tuple[bytes, ...],
    run: StartRun,
    tmp_path: Path,
) -> None:
    said: list[dict[int, set[tuple[str, int | None]]]] = []
    for name in ("whole", "killed"):
        topics = Topics(kafka_broker, topic, partitions=1)
        kafka_broker.produce(topics.input, as_records(packets))
        flags = [*topics.flags, *SMALL_BATCHES, "--store", f"sqlite:{tmp_path / name}.sqlite"]
        if name == "killed":
            for death in (1, 2):
                process = run(flags, name=f"{name}-{death}")
                wait_for_outputs(topics, death * N_PACKETS // 4, process)
                process.kill()
        process = run(flags, name=f"{name}-last")
        process.wait_ready(lambda topics=topics: topics.committed() == N_PACKETS, timeout_s=READY_S)  # type: ignore[misc]
        assert stop_in_order(process) == 0
        of_alert = defaultdict(set)
        for verdict in verdicts_of(topics, topics.outputs()):
            of_alert[verdict.alert_id].add((verdict.inputs_digest, verdict.n_stored_epochs))
        said.append(dict(of_alert))
    assert said[0] == said[1]
    assert all(len(each) == 1 for each in said[0].values())
    added = [n for each in said[0].values() for _, n in each]
    assert sum(n or 0 for n in added) > 50


def test_a_run_goes_on_without_its_redis_and_finds_it_again(
    kafka_broker: KafkaCluster,
    private_redis: Callable[..., RedisServer],
    topic: Callable[[str], str],
    packets: tuple[bytes, ...],
    run: StartRun,
) -> None:
    server = private_redis(durable=True)
    topics = Topics(kafka_broker, topic, partitions=1)
    process = run([*topics.flags, *SMALL_BATCHES, "--store", server.url])
    third = N_PACKETS // 3

    def judged(part: tuple[bytes, ...]) -> list[Verdict]:
        before = topics.outputs()
        (begin,) = kafka_broker.end_offsets(topics.input).values()
        kafka_broker.produce(topics.input, as_records(part))
        wait_for_outputs(topics, before + len(part), process)
        records = topics.verdicts(before + len(part))
        return [verdict_of(r) for r in records if int(dict(r.headers)["source_offset"]) >= begin]

    def away(verdicts: list[Verdict]) -> list[bool]:
        fixed = [v for v in verdicts if v.source_context != "solar_system"]
        return [QualityFlag.STORE_AWAY in v.quality_flags for v in fixed]

    assert not any(away(judged(packets[:third])))
    server.kill()
    assert all(away(judged(packets[third : 2 * third])))
    server.restart()
    wait_for_event(process, "store_back")  # although no alert comes
    last = judged(packets[2 * third :])
    assert not any(away(last))
    # What came while the store was away is known by now.
    assert sum(v.n_stored_epochs or 0 for v in last) > 0
    assert stop_in_order(process) == 0
    assert set(source_places(topics.verdicts(topics.outputs()))) == all_places(topics)
