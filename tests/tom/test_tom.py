# SPDX-License-Identifier: BSD-3-Clause
"""In a real TOM on SQLite, `manage.py readstreams` turns candidates on a real Kafka into targets."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.topic_schema import topic_schema
from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.engine.scorer import Scorer
from broker_plugin.pipeline.routing import candidate_record
from broker_plugin.records import Alert, Origin, Provenance
from broker_plugin.surveys.registry import adapters
from tests.broker_plugin.brokers.sample import lsst_packets, ztf_packets
from tests.broker_plugin.client.verdicts import retraction_of
from tests.support.artefacts import REPOSITORY
from tests.support.cluster import KafkaCluster
from tests.support.environments import environment_of, in_environment
from tests.support.hosts import host_interpreter
from tests.support.process import ServerUnavailableError, wait_until
from tests.support.tiers import unavailable
from tests.tom.state import state

TOM_S = 300.0
"""Longest wait for one command of a TOM; Django itself takes seconds to start."""

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(900.0)]

MANAGE = ("-m", "tests.tom.inside.manage")


@pytest.fixture(scope="module")
def interpreter() -> Path:
    try:
        return host_interpreter("tom")
    except ServerUnavailableError as missing:
        unavailable(str(missing))


@pytest.fixture(scope="module")
def judged(data_dir: Path) -> list[tuple[Alert, Verdict]]:
    """Real alerts of both surveys and their verdicts, among them long histories and forced photometry."""
    packets = [*ztf_packets(data_dir)[::3], *lsst_packets(data_dir)[::6]]
    decoder = Decoder(schemas=SchemaStore(), adapters=adapters(["ztf", "lsst"]))
    alerts = [alert for packet in packets for alert in decoder.adapt(packet, Provenance(topic="in"))]
    found = zip(alerts, Scorer.open("default", device="cpu").score(alerts), strict=True)
    return [(alert, verdict) for alert, verdict in found if not verdict.is_retraction]


@pytest.fixture(scope="module")
def app(interpreter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app as it is installed."""
    folder = tmp_path_factory.mktemp("app")
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*install, "--python", str(interpreter), str(REPOSITORY / "deploy/tom")], check=True)
    return folder


class Tom:
    """A TOM in a folder, reading one topic."""

    def __init__(self, interpreter: Path, app: Path, folder: Path, cluster: KafkaCluster, topic: str) -> None:
        self.interpreter, self.folder = interpreter, folder
        self.variables = {
            "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{app}",
            "TOM_FOLDER": str(folder),
            "TOM_BOOTSTRAP": cluster.bootstrap,
            "TOM_TOPIC": topic,
            "TOM_GROUP": f"{topic}-group",
        }

    def manage(self, *arguments: str, **variables: str) -> str:
        done = in_environment(
            self.interpreter,
            [*MANAGE, *arguments],
            timeout_s=TOM_S,
            variables={**self.variables, **variables},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stderr

    def look(self, what: str) -> Any:
        done = in_environment(
            self.interpreter, ["-m", "tests.tom.inside.look", what], timeout_s=TOM_S, variables=self.variables
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    def start(self, *arguments: str, log: Path, **variables: str) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            return subprocess.Popen(
                [str(self.interpreter), *MANAGE, *arguments],
                cwd=REPOSITORY,
                env=environment_of({**self.variables, **variables}),
                stdout=output,
                stderr=output,
            )

    def state(self) -> dict[str, Any]:
        with closing(sqlite3.connect(self.folder / "db.sqlite3", isolation_level=None)) as database:
            database.execute("BEGIN")  # all of it as it is at one moment
            return state(lambda sql: database.execute(sql).fetchall())


@pytest.fixture(scope="module")
def migrated(
    interpreter: Path, app: Path, tmp_path_factory: pytest.TempPathFactory, kafka_broker: KafkaCluster
) -> Path:
    """The database of an empty TOM: migrations take most of the time."""
    folder = tmp_path_factory.mktemp("tom")
    Tom(interpreter, app, folder, kafka_broker, "none").manage("migrate", "--verbosity", "0")
    return folder / "db.sqlite3"


@pytest.fixture
def tom(
    interpreter: Path,
    app: Path,
    migrated: Path,
    tmp_path: Path,
    kafka_broker: KafkaCluster,
    topic: Callable[[str], str],
) -> Tom:
    (tmp_path / "db.sqlite3").write_bytes(migrated.read_bytes())
    return Tom(interpreter, app, tmp_path, kafka_broker, kafka_broker.create_topic(topic("candidates")))


def publish(
    cluster: KafkaCluster, topic: str, judged: list[tuple[Alert, Verdict]], *, route: str = "strange"
) -> None:
    encode = topic_schema("candidate.v1").container
    cluster.produce(
        topic,
        [
            (verdict.object_id.encode(), encode(candidate_record(route, verdict, alert)), ())
            for alert, verdict in judged
        ],
    )


def earlier(alert: Alert, verdict: Verdict) -> tuple[Alert, Verdict]:
    """What was said of an object before its last epochs, and measured otherwise."""
    curve = alert.light_curve.take(slice(None, max(1, len(alert.light_curve) // 2)))
    return (
        replace(alert, light_curve=replace(curve, flux_njy=curve.flux_njy * 1.5)),
        verdict._replace(mjd_tai=verdict.mjd_tai - 1.0, anomaly_p_value=0.987, explanation="before"),
    )


def expected_kinds(alert: Alert) -> dict[tuple[str, bool], int]:
    """Count epochs by how they were measured, and whether they are limits."""
    kinds: dict[tuple[str, bool], int] = {}
    curve = alert.light_curve
    seen = set()
    for mjd, band, flux, error, origin, apparent in zip(
        curve.mjd_tai,
        curve.band,
        curve.flux_njy,
        curve.flux_err_njy,
        curve.origin,
        curve.apparent,
        strict=True,
    ):
        forced = origin == Origin.FORCED
        bright = (flux if apparent else abs(flux)) >= (3 * error if forced else 1e-30)
        place = (
            round(float(mjd) * 86400e6),
            int(band),
            bool(forced),
            bool(apparent),
            bool(flux >= 0) or bool(apparent),
        )
        assert place not in seen
        seen.add(place)
        key = ("forced" if forced else "detection", not bright)
        kinds[key] = kinds.get(key, 0) + 1
    if len(alert.limits):
        kinds["limit", True] = len(alert.limits)
    return kinds


def found_kinds(target: Any) -> dict[tuple[str, bool], int]:
    kinds: dict[tuple[str, bool], int] = {}
    for _, _, kind, brightness, _, limit, *_ in target["photometry"]:
        assert (brightness is None) != (limit is None)
        kinds[kind, brightness is None] = kinds.get((kind, brightness is None), 0) + 1
    return kinds


def test_each_candidate_is_a_target_and_an_update_amends_it(
    tom: Tom, kafka_broker: KafkaCluster, judged: list[tuple[Alert, Verdict]]
) -> None:
    topic = tom.variables["TOM_TOPIC"]
    publish(kafka_broker, topic, [earlier(*each) for each in judged])
    tom.manage("readstreams")
    before = tom.state()
    publish(kafka_broker, topic, judged)
    tom.manage("readstreams")
    after = tom.state()

    fixed = {v.object_id: (a, v) for a, v in judged if v.source_context != "solar_system"}
    assert len(before) == len(after) == len(fixed) > 20
    for object_id, (alert, verdict) in fixed.items():
        (name,) = [name for name in (object_id.partition(":")[2], object_id) if name in after]
        target = after[name]
        assert before[name]["extras"]["astrom3_explanation"] == "before"
        assert float(target["extras"]["astrom3_p_value"]) == verdict.anomaly_p_value
        assert target["extras"]["astrom3_class"] == (verdict.top_class or "")
        assert target["extras"]["astrom3_verdict_id"] == verdict.verdict_id
        assert target["place"] == [verdict.ra_deg, verdict.dec_deg]
        assert target["lists"] == ["AstroM3: strange"]
        assert object_id in [name, *target["aliases"]]
        assert found_kinds(target) == expected_kinds(alert)
    kinds = {kind for target in after.values() for kind in found_kinds(target)}
    assert kinds == {("detection", False), ("forced", False), ("forced", True), ("limit", True)}
    agree_with_the_fluxes(after)

    again = tom.manage("readstreams", TOM_GROUP="another")
    assert "the stream of" not in again
    assert tom.state() == after, "reading everything again changed something"


def agree_with_the_fluxes(state: Any) -> None:
    for target in state.values():
        for _, band, kind, brightness, error, limit, telescope, unit, value in target["photometry"]:
            assert unit == "AB mag"
            assert telescope in ("ZTF", "LSST")
            assert band.startswith(value["band"])
            assert ("difference" in band) == (not value.get("apparent"))
            magnitude = brightness if limit is None else limit
            flux = flux_of(kind, value, is_limit=limit is not None)
            assert math.isclose(
                10 ** ((31.4 - magnitude) / 2.5), flux, rel_tol=1e-9
            )  # rounding of log and power
            if error is not None:
                assert math.isclose(error, 1.0857362 * value["flux_err_njy"] / flux, rel_tol=1e-6)


def flux_of(kind: str, value: dict[str, Any], *, is_limit: bool) -> float:
    if kind == "limit":
        assert is_limit
        return float(value["limit_njy"])
    return 3 * float(value["flux_err_njy"]) if is_limit else abs(float(value["flux_njy"]))


def test_the_order_does_not_matter_and_a_target_made_by_hand_is_amended(
    tom: Tom, kafka_broker: KafkaCluster, judged: list[tuple[Alert, Verdict]]
) -> None:
    # Without changed fluxes: which of two measurements of an epoch counts is a matter of order.
    some = [each for each in judged if each[1].source_context != "solar_system"][:8]
    halves = [(replace(a, light_curve=a.light_curve.take(slice(None, 2))), earlier(a, v)[1]) for a, v in some]
    publish(kafka_broker, tom.variables["TOM_TOPIC"], [*halves, *some])
    first, *others = tom.look("orders")
    assert len(first) == 8
    assert all(other == first for other in others)
    found = tom.look("known_target")
    assert (found["same"], found["targets"], found["place"]) == (True, 1, [1.0, 2.0])
    # Beside it: what a handler failed on comes again, and nothing else does.
    sent = [verdict.verdict_id for _, verdict in [*halves, *some]]
    assert found["handled"] == [*sent[:2], "failed", *sent[2:]]
    assert found["ended"] == "of the handler's own"
    assert "GROUP" in found["refused"]


def test_a_withdrawn_alert_takes_its_target_off_the_lists_and_makes_none(
    tom: Tom, kafka_broker: KafkaCluster, judged: list[tuple[Alert, Verdict]]
) -> None:
    topic = tom.variables["TOM_TOPIC"]
    fixed = [each for each in judged if each[1].source_context != "solar_system"]
    some = [(alert, verdict._replace(anomaly_p_value=0.1)) for alert, verdict in fixed[:4]]
    before, after = earlier(*some[2])[1], some[3][1]
    before = before._replace(alert_key="before", anomaly_p_value=0.1)
    after = after._replace(alert_key="after", mjd_tai=after.mjd_tai + 1.0)
    # Their retractions do not fit what the stream is asked for, and come to another process.
    gone, lone, _, back = [(a, retraction_of(v, anomaly_p_value=0.9)) for a, v in some]
    older = (some[2][0], retraction_of(before))
    publish(kafka_broker, topic, [some[0], (older[0], before), some[2], some[3]])
    publish(kafka_broker, topic, some[:1], route="another")
    tom.manage("readstreams", TOM_MAX_P_VALUE="0.5")
    retracted = [gone, lone, older, back]
    # Of the withdrawn alerts one comes again, and one only after its retraction.
    publish(kafka_broker, topic, [*retracted, some[0], some[1], (back[0], after)])
    tom.manage("readstreams", TOM_MAX_P_VALUE="0.5")
    tom.manage("makemigrations", "tom_astrom3", "--check", "--dry-run")
    targets = {alias: each for name, each in tom.state().items() for alias in (name, *each["aliases"])}
    assert targets[gone[1].object_id]["lists"] == []
    assert targets[gone[1].object_id]["extras"]["astrom3_revision"] == "retraction"
    assert lone[1].object_id not in targets, "a withdrawn alert made a target"
    for taken_back in (older, back):  # of an older alert; and a later one brought it back
        assert targets[taken_back[1].object_id]["lists"] == ["AstroM3: strange"]
        assert targets[taken_back[1].object_id]["extras"]["astrom3_revision"] == "initial"
    assert tom.look("listed") == sorted([older[1].object_id, back[1].object_id])


def test_a_locked_database_is_waited_for_and_a_killed_reader_loses_nothing(
    tom: Tom, kafka_broker: KafkaCluster, judged: list[tuple[Alert, Verdict]], tmp_path: Path
) -> None:
    fixed = [each for each in judged if each[1].source_context != "solar_system"]
    names = {verdict.object_id for _, verdict in fixed}
    publish(kafka_broker, tom.variables["TOM_TOPIC"], fixed)
    log = tmp_path / "reader.log"
    with closing(sqlite3.connect(tmp_path / "db.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        reader = tom.start("readstreams", log=log, TOM_TIMEOUT_S="600")
        try:
            wait_until(
                lambda: "the database is away" in log.read_text(), what="a reader that waits", timeout_s=TOM_S
            )
            assert len(tom.state()) == 0
            other.execute("ROLLBACK")
            wait_until(lambda: len(tom.state()) > 2, what="targets", timeout_s=TOM_S)
        finally:
            reader.kill()
            reader.wait()
    had = len(tom.state())
    tom.manage("readstreams", TOM_TIMEOUT_S="12")  # the killed member holds its partition for a while
    assert len(tom.state()) == len(names) >= had


def test_the_data_service_finds_candidates_and_updates_a_target(
    tom: Tom, kafka_broker: KafkaCluster, judged: list[tuple[Alert, Verdict]]
) -> None:
    alert, verdict = next(each for each in judged if each[1].source_context != "solar_system")
    replayed = verdict._replace(object_id="ztf:ZTF00replays", anomaly_p_value=1e-3, tense=Tense.ARCHIVAL)
    sent = [*(earlier(*each) for each in judged), *judged, (alert, replayed)]
    publish(kafka_broker, tom.variables["TOM_TOPIC"], sent)
    found = tom.look("service")
    assert found["replayed"] == {"": 0, "any": 1, "archival": 1}
    assert found["statuses"] == [200, 200, 302, 200, 302, 302, 200]
    assert found["refusal"]
    assert found["feedback"] == ""
    fixed = [verdict for _, verdict in judged if verdict.source_context != "solar_system"]
    strange = {v.object_id: v.anomaly_p_value for v in fixed if v.anomaly_p_value <= 0.5}
    assert dict(map(tuple, found["results"])) == dict(sorted(strange.items(), key=lambda each: each[1])[:100])
    assert [p for _, p in found["results"]] == sorted(p for _, p in found["results"])
    assert found["in_page"]
    assert found["found"]
    assert found["rows"][0] == found["rows"][1] > 0
    (target,) = found["state"].values()
    assert target["extras"]["astrom3_class"] is not None


def test_a_query_that_nothing_on_a_busy_topic_fits_ends(
    tom: Tom, kafka_broker: KafkaCluster, judged: list[tuple[Alert, Verdict]]
) -> None:
    is_answered = threading.Event()

    def keep_busy() -> None:
        for _ in range(120):
            publish(kafka_broker, tom.variables["TOM_TOPIC"], judged[:2])
            if is_answered.wait(0.5):
                return

    busy = threading.Thread(target=keep_busy)
    busy.start()
    try:
        answer = tom.look("nobody")
    finally:
        is_answered.set()
        busy.join()
    assert answer["found"] == 0
    assert 5.0 <= answer["took_s"] < 30.0
