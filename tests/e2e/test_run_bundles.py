# SPDX-License-Identifier: BSD-3-Clause
"""Bundles that change while the stream runs: every alert has its verdict, and each partition its order."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker_plugin.bundle import open_bundle
from broker_plugin.repository import changes
from broker_plugin.repository.layout import BundleRepository
from tests.e2e.conftest import StartRun
from tests.e2e.service import (
    READY_S,
    Topics,
    as_records,
    events,
    source_places,
    stop_in_order,
    verdict_of,
    wait_for_event,
    wait_for_outputs,
    ztf_packets,
)
from tests.e2e.test_run_operation import get, metric
from tests.support.bundles import make_bundle, replace_file
from tests.support.cluster import KafkaCluster, KafkaRecord
from tests.support.process import ServerProcess, wait_until

pytestmark = pytest.mark.service

CHUNK, PAUSE_S, AHEAD = 8, 0.05, 32
"""What the survey of these tests sends at a time, how long it rests, and what may be under way: so a slow
machine has no more to do than a fast one."""


@pytest.fixture
def repository(tmp_path: Path) -> BundleRepository:
    """Two versions that answer differently; the first is promoted."""
    root = tmp_path / "bundles"
    root.mkdir()
    repository = BundleRepository(root)
    changes.add(repository, "default", version="1")
    changes.add(repository, make_bundle(tmp_path / "second", temperature=3.0), version="2")
    changes.promote(repository, "default@1", now=True)
    return repository


class Survey:
    """Sends alerts, over and over again, while the block lasts; `sent` says how many."""

    def __init__(self, topics: Topics, packets: Sequence[bytes]) -> None:
        self._topics = topics
        self._packets = itertools.cycle(packets)
        self._stop = threading.Event()
        self.sent = 0

    @contextmanager
    def sending(self) -> Iterator[None]:
        thread = threading.Thread(target=self._send)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _send(self) -> None:
        while not self._stop.wait(PAUSE_S):
            if self.sent - self._topics.committed() >= AHEAD:
                continue
            self._topics.cluster.produce(
                self._topics.input, as_records(itertools.islice(self._packets, CHUNK))
            )
            self.sent += CHUNK


def digest(repository: BundleRepository, version: str) -> str:
    return open_bundle(repository.path_of("default", version)).digest


def digests_in_order(records: Iterable[KafkaRecord]) -> dict[bytes, list[str]]:
    """The digests behind the verdicts of each input partition, by offset, without repeats."""
    found: dict[bytes, list[str]] = {}
    for record in sorted(records, key=lambda each: int(dict(each.headers)["source_offset"])):
        partition = dict(record.headers)["source_partition"]
        found.setdefault(partition, []).append(verdict_of(record).bundle_digest)
    return {partition: [key for key, _ in itertools.groupby(each)] for partition, each in found.items()}


def wait_for_events(process: ServerProcess, event: str, number: int) -> None:
    process.wait_ready(
        lambda: sum(found["event"] == event for found in events(process)) >= number, timeout_s=READY_S
    )


def port_of(process: ServerProcess) -> int:
    return next(int(event["port"]) for event in events(process) if event["event"] == "health_served")


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_promotion_and_rollback_in_mid_stream_lose_no_alert(
    kafka_broker: KafkaCluster,
    topic: Callable[[str], str],
    data_dir: Path,
    run: StartRun,
    repository: BundleRepository,
    delivery: str,
) -> None:
    topics = Topics(kafka_broker, topic)
    survey = Survey(topics, ztf_packets(data_dir)[:60])
    flags = ["--bundles", str(repository.root), "--delivery", delivery, "--batch-max", "16"]
    process = run([*topics.flags, *flags])
    wait_for_event(process, "started")

    def wait_until_done(number: int) -> None:
        process.wait_ready(lambda: topics.committed() >= number, timeout_s=READY_S)

    with survey.sending():
        wait_until_done(AHEAD)
        changes.promote(repository, "default@2", now=True)
        wait_for_events(process, "bundle_switched", 1)
        wait_until_done(topics.committed() + AHEAD)
        changes.rollback(repository, "default")
        wait_for_events(process, "bundle_switched", 2)
        wait_until_done(topics.committed() + AHEAD)
    wait_until_done(survey.sent)
    assert stop_in_order(process) == 0
    records = topics.verdicts(survey.sent)
    places = source_places(records)
    assert len(places) == len(set(places)) == survey.sent
    first, second = digest(repository, "1"), digest(repository, "2")
    assert list(digests_in_order(records).values()) == [[first, second, first]] * 3


def test_bundles_that_cannot_serve_leave_the_old_one_running_and_ready(
    kafka_broker: KafkaCluster,
    topic: Callable[[str], str],
    data_dir: Path,
    run: StartRun,
    repository: BundleRepository,
    tmp_path: Path,
) -> None:
    # Every file has its digest, so that only the service, which runs the graphs, can tell.
    broken = make_bundle(tmp_path / "broken")
    replace_file(broken, "metadata.onnx", (broken / "light_curve.onnx").read_bytes())
    changes.add(repository, broken, version="3")
    unread = {"fits": [{"surveys": ["ztf"], "reference": {"ztf": {"n": 0}}}]}
    changes.add(repository, make_bundle(tmp_path / "unread", stream=unread), version="4")
    topics = Topics(kafka_broker, topic)
    process = run([*topics.flags, "--bundles", str(repository.root), "--metrics-port", "0"])
    wait_for_event(process, "started")
    changes.promote(repository, "default@3", now=True)
    wait_for_event(process, "bundle_refused")
    changes.promote(repository, "default@4", now=True)
    wait_for_events(process, "bundle_refused", 2)
    port = port_of(process)
    wait_until(lambda: get(port, "/readyz")[0] == 200, what="readiness", timeout_s=READY_S)
    kafka_broker.produce(topics.input, as_records(ztf_packets(data_dir)[:20]))
    wait_for_outputs(topics, 20, process)
    changed = 'broker_plugin_bundle_changes_total{outcome="%s"}'
    assert metric(get(port, "/metrics")[1], changed % "refused") == 2
    assert metric(get(port, "/metrics")[1], changed % "switched") == 0
    assert {verdict_of(record).bundle_digest for record in topics.verdicts(20)} == {digest(repository, "1")}
    # A rollback ends the trouble, and a hangup is no reason to end.
    changes.promote(repository, "default@1", now=True)
    assert process._process is not None
    process._process.send_signal(signal.SIGHUP)
    assert get(port, "/healthz")[0] == 200
    assert stop_in_order(process) == 0


def test_a_promotion_that_waits_for_noon_is_prepared_and_survives_a_restart(
    kafka_broker: KafkaCluster,
    topic: Callable[[str], str],
    data_dir: Path,
    run: StartRun,
    repository: BundleRepository,
) -> None:
    topics = Topics(kafka_broker, topic)
    flags = [*topics.flags, "--bundles", str(repository.root)]
    process = run(flags)
    wait_for_event(process, "started")
    changes.promote(repository, "default@2")
    wait_for_event(process, "bundle_prepared")
    kafka_broker.produce(topics.input, as_records(ztf_packets(data_dir)[:10]))
    wait_for_outputs(topics, 10, process)
    assert stop_in_order(process) == 0
    again = run(flags, name="again")
    kafka_broker.produce(topics.input, as_records(ztf_packets(data_dir)[10:20]))
    wait_for_outputs(topics, 20, again)
    assert stop_in_order(again) == 0
    assert {verdict_of(record).bundle_digest for record in topics.verdicts(20)} == {digest(repository, "1")}
