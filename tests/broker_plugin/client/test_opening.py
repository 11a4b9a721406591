# SPDX-License-Identifier: BSD-3-Clause
"""On a real Kafka a subscription begins where it is told, and candidates come with their light curves."""

from __future__ import annotations

import csv
import runpy
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from broker_plugin.client import Epoch, WatchList, subscribe, subscribe_to_candidates
from broker_plugin.client.conditions import ANY_TENSE
from broker_plugin.client.options import Options, checked_options
from broker_plugin.client.options import Tense as TenseName
from broker_plugin.codec.topic_schema import topic_schema
from broker_plugin.codec.verdict import Tense, Verdict, encode_container, to_record
from broker_plugin.errors import ConfigurationError, TransientError
from broker_plugin.pipeline.selection import ANY_CONTEXT
from broker_plugin.records import SourceContext
from broker_plugin.settings_tables import ContextName, RouteTable
from tests.broker_plugin.client.verdicts import a_verdict, retraction_of
from tests.support.artefacts import REPOSITORY
from tests.support.cluster import KafkaCluster

QUIET_S = 1.5
"""The end of a topic; each subscription of a test waits for it once."""

EPOCH = Epoch(
    mjd_tai=60000.5, band="ztf_g", flux_njy=1500.0, flux_err_njy=25.0, origin="forced", apparent=True
)


def produce(cluster: KafkaCluster, topic: str, numbers: range) -> None:
    cluster.produce(topic, [(None, encode_container(a_verdict(number)), ()) for number in numbers])


@pytest.mark.parametrize("group", [None, "group"])
def test_it_begins_with_what_came_since_a_moment(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], group: str | None
) -> None:
    verdicts = kafka_broker.create_topic(topic("verdicts"))
    produce(kafka_broker, verdicts, range(3))
    time.sleep(0.2)
    moment = datetime.now(UTC)
    time.sleep(0.2)
    produce(kafka_broker, verdicts, range(3, 7))
    how: Any = {
        "bootstrap": kafka_broker.bootstrap,
        "group": group and f"{verdicts}-{group}",
        "since": moment,
        "tense": "any",
        "timeout_s": QUIET_S,
    }
    with subscribe(verdicts, **how) as found:
        assert [verdict.alert_id for verdict in found] == [3, 4, 5, 6]
    with subscribe(verdicts, **how) as found:  # a group goes on, and nobody else remembers
        assert [verdict.alert_id for verdict in found] == ([] if group else [3, 4, 5, 6])


def test_candidates_are_typed_and_selected_as_verdicts_are(
    kafka_broker: KafkaCluster, topic: Callable[[str], str]
) -> None:
    candidates = kafka_broker.create_topic(topic("candidates"))
    encode = topic_schema("candidate.v1").container
    row = {name: getattr(EPOCH, name) for name in Epoch.__slots__}
    records = [
        {
            "route": "strange stars",
            "verdict": to_record(verdict),
            "light_curve": [row] * verdict.alert_id,
            "links": {"fink": "https://example.org"},
        }
        for verdict in (
            *(a_verdict(number, anomaly_p_value=number / 10) for number in range(1, 4)),
            a_verdict(4, anomaly_p_value=0.1, reference_change_mag=2.0),  # it faded
        )
    ]
    kafka_broker.produce(candidates, [(None, encode(record), ()) for record in records])
    with subscribe_to_candidates(
        candidates,
        bootstrap=kafka_broker.bootstrap,
        from_beginning=True,
        tense="any",
        max_p_value=0.25,
        min_brightening_mag=0.5,
        timeout_s=QUIET_S,
    ) as stream:
        first, second = stream
    assert (first.route, first.links) == ("strange stars", {"fink": "https://example.org"})
    assert second.light_curve == (EPOCH, EPOCH)
    assert second.verdict == a_verdict(2, anomaly_p_value=0.2)


def test_the_example_says_why_a_try_gives_it_no_targets(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], tmp_path: Path
) -> None:
    verdicts = kafka_broker.create_topic(topic("verdicts"))
    strange = [a_verdict(number, tense=Tense.TEST, source_context="stellar") for number in range(3)]
    kafka_broker.produce(verdicts, [(None, encode_container(verdict), ()) for verdict in strange])
    said = []
    for tense in ("current", "any"):
        command = [str(REPOSITORY / "deploy/examples/follow_up.py"), "--bootstrap", kafka_broker.bootstrap]
        command += ["--topic", verdicts, "--group", f"{verdicts}-{tense}", "--tense", tense]
        command += ["--max-p-value", "1", "--timeout-s", str(QUIET_S), "--out", f"{tense}.csv"]
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        said.append(done.stderr.splitlines()[-2:])
    assert said[0] == [
        "3 verdicts read, 0 targets more in current.csv",
        "3 of them are not current; --tense any takes them",
    ]
    assert said[1][-1] == "3 verdicts read, 3 targets more in any.csv"


def test_the_example_takes_a_withdrawn_target_off_its_list(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], tmp_path: Path
) -> None:
    verdicts = kafka_broker.create_topic(topic("verdicts"))
    stays, goes, never, comes_back = [
        a_verdict(number, tense=Tense.CURRENT, source_context="stellar") for number in range(4)
    ]
    later = comes_back._replace(alert_key="ztf:9", observed_utc="2026-11-24T03:00:00Z")
    another = stays._replace(alert_key="ztf:8", observed_utc="2026-11-24T04:00:00Z")
    before = [stays, goes, comes_back]
    after = [*map(retraction_of, (goes, never, comes_back, another)), later]
    for sent in (before, after):
        kafka_broker.produce(verdicts, [(None, encode_container(verdict), ()) for verdict in sent])
        command = [str(REPOSITORY / "deploy/examples/follow_up.py"), "--bootstrap", kafka_broker.bootstrap]
        command += ["--topic", verdicts, "--group", f"{verdicts}-reader", "--max-p-value", "1"]
        command += ["--timeout-s", str(QUIET_S)]
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=True
        )
    assert "1 targets more" in done.stderr
    assert "2 targets taken off" in done.stderr
    with (tmp_path / "targets.csv").open() as file:
        found = {row["object"]: row["observed_utc"] for row in csv.DictReader(file)}
    assert found == {each.object_id: each.observed_utc for each in (stays, later)}


def test_the_example_gets_the_target_in_hand_again_after_ctrl_c(
    kafka_broker: KafkaCluster,
    topic: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    verdicts = kafka_broker.create_topic(topic("verdicts"))
    strange = [a_verdict(number, tense=Tense.CURRENT, source_context="stellar") for number in range(3)]
    kafka_broker.produce(verdicts, [(None, encode_container(verdict), ()) for verdict in strange])
    example = runpy.run_path(str(REPOSITORY / "deploy/examples/follow_up.py"))
    append, interrupts = example["append"], iter([False, True])

    def interrupted(path: Path, verdict: Verdict) -> None:
        if next(interrupts, False):
            raise KeyboardInterrupt
        append(path, verdict)

    monkeypatch.setitem(example["main"].__globals__, "append", interrupted)
    out = tmp_path / "targets.csv"
    flags = ["--bootstrap", kafka_broker.bootstrap, "--topic", verdicts, "--group", f"{verdicts}-follow-up"]
    flags += ["--max-p-value", "1", "--timeout-s", str(QUIET_S), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["follow_up.py", *flags])
    for _ in range(2):
        assert example["main"]() == 0
    assert capsys.readouterr().err.count("stopped; start it again and it goes on here") == 1
    with out.open(newline="") as file:
        written = [row["object"] for row in csv.DictReader(file)]
    assert written == [verdict.object_id for verdict in strange]


def test_a_pattern_is_no_topic_of_a_subscriber_and_is_not_recommended(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match=r"'\^verd\.\*' is no topic"):
        subscribe("^verd.*", bootstrap=kafka_broker.bootstrap)
    monkeypatch.setattr("broker_plugin.client.opening.CONNECT_S", 1.0)
    for name, hint in ((f"{topic()}-nope", False), (f"{topic('ztf')}_20261124", True)):
        with pytest.raises(ConfigurationError, match=f"has no topic {name}") as refused:
            subscribe(name, bootstrap=kafka_broker.bootstrap)
        assert ("nights are a pattern" in str(refused.value)) is hint


def test_a_subscriber_imports_no_engine() -> None:
    script = (
        "import sys, broker_plugin.client\n"
        "print(*[m for m in sys.modules if m.split('.')[0] in ('onnxruntime', 'numba', 'nifty_ls') "
        "or m.startswith('broker_plugin.engine')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_pvalue": 0.001}, "max_pvalue: there is no such option; did you mean 'max_p_value'?"),
        ({"cone": 1}, "cone: there is no such option; "),
        ({"only": "news"}, "only: Input should be 'new', 'changed' or 'all'"),
        ({"tense": "now"}, "tense: Input should be 'current', "),
        ({"context": "star"}, "context: Input should be 'stellar', "),
        ({"max_p_value": 5}, "max_p_value: Input should be less than or equal to 1"),
        ({"max_p_value": float("nan")}, "max_p_value: Input should be "),
        ({"min_probability": True}, "min_probability: Input should not be true or false"),
        ({"classes": "RRAB"}, r"classes: give names of classes as a list, such as \['RRAB'\]"),
        ({"classes": ["RRAB", 7]}, "classes: give names of classes as a list"),
        ({"classes": 7}, "classes: give names of classes as a list"),
        ({"strangest": 0}, "strangest: Input should be greater than or equal to 1"),
        ({"strangest": -1}, "strangest: Input should be greater than or equal to 1"),
        ({"limit": 0}, "limit: Input should be greater than or equal to 1"),
        ({"timeout_s": 0.0}, "timeout_s: Input should be greater than 0"),
        ({"change_factor": 1}, "change_factor: Input should be greater than 1"),
        ({"watch": 5}, "watch: give a WatchList, or the path of a CSV file or a VOTable"),
        ({"watch": "no-such-file.csv"}, "cannot read the watch list no-such-file.csv"),
        ({"since": datetime(2026, 11, 24)}, r"since: has no time zone.* take datetime.now\(UTC\)"),
        ({"since": 5}, "since: give a datetime with its time zone"),
        ({"since": "yesterday"}, "'yesterday' is no moment"),
        ({"warn": 5}, "warn: Input should be callable"),
        ({"only": "news", "limit": 0}, "only: .*\nlimit: "),
    ],
)
def test_an_option_that_cannot_work_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        subscribe("verdicts", bootstrap="localhost:1", **options)


NEW = "which objects are new"

RETRACTED = "what was told, whose retractions may then not come,"


@pytest.mark.parametrize(
    ("options", "forgotten"),
    [
        ({"max_p_value": 0.01}, RETRACTED),
        ({"classes": ["RRAB"], "watch": WatchList(object_ids=["ZTF18abcdefg"])}, RETRACTED),
        ({"strangest": 3, "context": "any"}, RETRACTED),
        ({"only": "new"}, f"{NEW} and {RETRACTED}"),
        ({"only": "new", "retractions": "all"}, NEW),
        ({"max_p_value": 0.01, "retractions": "all"}, None),
        ({"max_p_value": 0.01, "group": None}, None),
        ({"max_p_value": 0.01, "memory": "memory.db"}, None),
        ({}, None),  # every retraction fits
        ({"watch": WatchList(object_ids=["ZTF18abcdefg"])}, None),
    ],
)
def test_what_a_group_will_forget_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], forgotten: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("broker_plugin.client.opening.CONNECT_S", 0.1)
    said: list[str] = []
    with pytest.raises(TransientError):
        subscribe("verdicts", bootstrap="localhost:1", warn=said.append, **{"group": "mine", **options})
    told = f"{forgotten} is forgotten at the end; give a file for the memory"
    assert said == ([] if forgotten is None else [told])


def test_options_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("object_id\nZTF18abcdefg\n")
    now = datetime.now(UTC)
    given: dict[str, Any] = {
        "since": now,
        "classes": ("RRAB",),
        "context": SourceContext.STELLAR,
        "watch": WatchList(object_ids=["ZTF18abcdefg"]),
        "tense": Tense.CURRENT,
        "stop": threading.Event(),
        "warn": print,
        "limit": None,
    }
    assert checked_options(given) == given
    for more in ({"watch": tmp_path / "mine.csv"}, {"watch": str(tmp_path / "mine.csv")}, {"since": "12h"}):
        assert checked_options(more) == more
    for classes in (["RRAB"], {"RRAB"}, {"RRAB": 0.5}.keys(), np.array(["RRAB"])):
        assert checked_options({"classes": classes}) == {"classes": ("RRAB",)}


def test_the_options_of_routes_and_of_the_command_are_these() -> None:
    assert set(RouteTable.model_fields) - {"topic", "name"} <= set(Options.__annotations__)
    assert set(get_args(ContextName)) == {*SourceContext, ANY_CONTEXT}
    assert set(get_args(TenseName)) == {*Tense, ANY_TENSE}


def test_a_moment_ago_and_a_path_are_what_the_command_takes(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], tmp_path: Path
) -> None:
    verdicts = kafka_broker.create_topic(topic("verdicts"))
    produce(kafka_broker, verdicts, range(3))
    (tmp_path / "mine.csv").write_text("ra,dec,radius\n150.1,2.2,1\n")
    place = a_verdict(7, ra_deg=150.1, dec_deg=2.2)
    kafka_broker.produce(verdicts, [(None, encode_container(place), ())])
    with subscribe(
        verdicts,
        bootstrap=kafka_broker.bootstrap,
        since="1h",
        watch=tmp_path / "mine.csv",
        tense="any",
        timeout_s=QUIET_S,
    ) as found:
        assert [verdict.alert_id for verdict in found] == [7]


def test_two_beginnings_are_refused() -> None:
    moment = datetime(2026, 11, 24, tzinfo=UTC)
    with pytest.raises(ConfigurationError, match="exclude each other"):
        subscribe("verdicts", bootstrap="localhost:1", from_beginning=True, since=moment)


def test_the_group_of_the_service_is_not_for_subscribers(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text('group = "astrom3"\noutput = "verdicts"\nbootstrap = "localhost:1"\n', "utf-8")
    with pytest.raises(ConfigurationError, match="is the group of the service"):
        subscribe(group="astrom3", config=config)
