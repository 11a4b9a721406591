# SPDX-License-Identifier: BSD-3-Clause
"""A real Prometheus scrapes a real service: dashboards show something, and alerts fire when they should.

The rules are those of the deployment, with a minute of them in a second.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.monitoring import ALERTS, dashboard_expressions
from tests.e2e.service import (
    Topics,
    as_records,
    events,
    start_run,
    wait_for_event,
    wait_for_outputs,
    ztf_packets,
)
from tests.support.kafka import KafkaCluster
from tests.support.process import ServerProcess, wait_until
from tests.support.prometheus import PrometheusServer, sped_up

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

N_PACKETS = 600
"""From 200 stars on there is a drift of classes."""

WINDOW = 100
"""Two rejections of a kind pause the stream."""

FIRES_S = 60.0
"""A rule of ten minutes takes ten seconds here; the rest is for a machine that does something else."""

QUIET_S = 20.0
"""Time in which an alarm that is not meant would fire: most rules wait for ten minutes at most, which are ten
seconds here."""

MAY_ALARM = {"Astrom3VerdictsLate", "Astrom3ClassDrift", "Astrom3ScoreDrift"}
"""The first batch waited for the start, and that is what its verdicts' delay says. Of so few stars there is
some drift, and the hour that its rules wait is a minute here, which a busy machine takes."""

NEEDS_MORE = {"GPU", "Shadow"}
"""Words in the titles of panels that show nothing without a GPU or a shadow bundle."""

TOLD_OF_A_PAUSE = {"Astrom3StreamPaused", "Astrom3NotReady", "Astrom3LagGrowing", "Astrom3NoVerdicts"}


@dataclass(frozen=True, slots=True)
class Watched:
    """A service that has judged a few alerts, and its Prometheus."""

    topics: Topics
    process: ServerProcess
    prometheus: PrometheusServer

    def firing(self) -> set[str]:
        """Return the alerts that fire."""
        return {name for name, state in self.prometheus.alerts().items() if state == "firing"}

    @property
    def port(self) -> int:
        """Of `/metrics`."""
        return port_of(self.process)


def port_of(process: ServerProcess) -> int:
    (port,) = [event["port"] for event in events(process) if event["event"] == "health_served"]
    return int(port)


@pytest.fixture(scope="module")
def watched(
    tmp_path_factory: pytest.TempPathFactory, kafka_broker: KafkaCluster, data_dir: Path, promtool: str
) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    topics = Topics(kafka_broker, lambda role: f"watched-{role}-{folder.name}-{time.time_ns()}")
    packets = sorted(ztf_packets(data_dir), key=len)[:N_PACKETS]
    kafka_broker.produce(topics.input, as_records(packets))
    flags = ["--metrics-port", "0", "--store", "memory", "--reject-window", str(WINDOW)]
    process = start_run(folder, [*topics.flags, *flags, "--batch-max", "64"])
    try:
        wait_for_event(process, "health_served")
        rules_text = sped_up(ALERTS.read_text("utf-8"))
        with PrometheusServer(
            folder / "prometheus", target_port=port_of(process), rules=rules_text
        ) as server:
            wait_for_outputs(topics, N_PACKETS, process)
            yield Watched(topics, process, server)
    finally:
        process.kill()


def test_promtool_finds_the_scrape_sound(watched: Watched, promtool: str) -> None:
    with DIRECT.open(f"http://127.0.0.1:{watched.port}/metrics", timeout=10) as answer:
        scrape = answer.read()
    done = subprocess.run([promtool, "check", "metrics"], input=scrape, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_every_panel_shows_something(watched: Watched, data_dir: Path) -> None:
    expressions = list(dashboard_expressions())
    some = as_records(sorted(ztf_packets(data_dir), key=len)[:10])

    def drift_is_told() -> bool:
        watched.topics.cluster.produce(watched.topics.input, some)  # it is told with a batch
        return bool(watched.prometheus.query('broker_plugin_drift{kind="class"}'))

    wait_until(drift_is_told, what="drift")
    missing = {
        title for title, expression in expressions if not watched.prometheus.query(at_once(expression))
    }
    assert {title for title in missing if not NEEDS_MORE.intersection(title.split(": ")[1].split())} == set()


def test_a_sound_service_alarms_nobody(watched: Watched) -> None:
    begun = time.monotonic()
    while time.monotonic() < begun + QUIET_S:
        assert watched.firing() <= MAY_ALARM
        time.sleep(0.5)


def test_a_paused_stream_and_its_growing_lag_are_told_within_seconds(watched: Watched) -> None:
    cluster, topics = watched.topics.cluster, watched.topics
    cluster.produce(topics.input, as_records([b"no alert"] * 50))
    wait_until(lambda: any(e["event"] == "stream_paused" for e in events(watched.process)), what="a pause")
    with growing(lambda: cluster.produce(topics.input, as_records([b"no alert"] * 200))):
        deadline, fired = time.monotonic() + FIRES_S, watched.firing()
        while not fired >= TOLD_OF_A_PAUSE and time.monotonic() < deadline:
            time.sleep(0.2)
            fired = watched.firing()
    assert fired >= TOLD_OF_A_PAUSE, watched.prometheus.query("broker_plugin_lag_messages")


def test_a_service_that_is_gone_is_missed(watched: Watched) -> None:
    watched.process.kill()
    wait_until(lambda: "Astrom3Absent" in watched.firing(), what="absence", timeout_s=FIRES_S)


@contextmanager
def growing(step: Callable[[], None]) -> Iterator[None]:
    """Take a step twice a second, beside what is done meanwhile."""
    stop = threading.Event()

    def grow() -> None:
        while not stop.wait(0.5):
            step()

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def at_once(expression: str) -> str:
    """Fill in a dashboard's variables."""
    filled = {"__rate_interval": "1m", "job": ".*", "context": "stellar"}
    return re.sub(r"\$(\w+)", lambda found: filled[found[1]], expression)
