# SPDX-License-Identifier: BSD-3-Clause
"""Who was told of an object is told when its alert is withdrawn, and nobody else is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from broker_plugin.client import Cone, ObjectMemory, Verdict, WatchList
from broker_plugin.client.conditions import Conditions
from broker_plugin.client.memory import Known
from broker_plugin.pipeline.selection import Selection
from broker_plugin.streams.memory import MemorySource
from tests.broker_plugin.client.test_subscription import subscription
from tests.broker_plugin.client.verdicts import a_verdict, as_messages, retraction_of

FIRST = a_verdict(1, object_id="ztf:a", top_class="EW", anomaly_p_value=0.01)

SECOND = FIRST._replace(alert_id=2, alert_key="ztf:2", verdict_id="second")
"""Another alert of the same object, of which the verdict says the same."""

BACK = retraction_of(FIRST)

STRANGE = Selection(max_p_value=0.05)


def told(*sky: Verdict, memory: ObjectMemory | None = None, **conditions: Any) -> list[tuple[int, str]]:
    """Return which of the verdicts come, by alert and revision."""
    wishes = Conditions(tense="any", **conditions)
    with subscription(
        MemorySource(as_messages(sky, partitions=1)), conditions=wishes, memory=memory
    ) as verdicts:
        return [(verdict.alert_id, str(verdict.revision)) for verdict in verdicts]


@pytest.mark.parametrize("only", ["new", "all"])
@pytest.mark.parametrize("strangest", [None, 3])
def test_the_retraction_of_what_was_told_is_news(only: Any, strangest: int | None) -> None:
    sky = [each._replace(emitted_at=datetime.now(UTC)) for each in (FIRST, BACK)]
    assert told(*sky, only=only, strangest=strangest) == [(1, "initial"), (1, "retraction")]


def test_the_retraction_of_what_was_seen_is_a_change() -> None:
    other = SECOND._replace(top_class="RRAB")
    assert told(FIRST, BACK, only="changed") == [(1, "retraction")]
    assert told(FIRST, other, retraction_of(other), only="changed") == [(2, "initial"), (2, "retraction")]
    harmless = FIRST._replace(anomaly_p_value=0.5)
    assert told(harmless, retraction_of(harmless), only="changed", selection=STRANGE) == []


@pytest.mark.parametrize("only", ["new", "changed"])
@pytest.mark.parametrize("strangest", [None, 3])
def test_a_lone_retraction_is_none(only: Any, strangest: int | None) -> None:
    assert told(BACK, only=only, strangest=strangest) == []
    harmless = FIRST._replace(anomaly_p_value=0.5)
    assert told(harmless, BACK, only="new", selection=STRANGE) == []


@pytest.mark.parametrize("parts", [{"anomaly_p_value": 0.9}, {"top_class": "RRAB"}])
def test_what_another_bundle_says_of_it_does_not_hold_a_retraction_back(parts: dict[str, Any]) -> None:
    found = told(FIRST, retraction_of(FIRST, **parts), only="new", selection=STRANGE)
    assert found == [(1, "initial"), (1, "retraction")]


@pytest.mark.parametrize("sittings", [1, 2])
def test_after_its_retraction_an_object_is_new_again(tmp_path: Path, sittings: int) -> None:
    sky, found = [FIRST, BACK, SECOND], []
    for part in [sky] if sittings == 1 else [sky[:1], sky[1:]]:
        found += told(*part, only="new", memory=ObjectMemory(tmp_path / "memory.db"))
    assert found == [(1, "initial"), (1, "retraction"), (2, "initial")]


def test_the_retraction_of_another_alert_of_the_object_is_told_and_the_object_stays_known() -> None:
    third = FIRST._replace(alert_id=3, alert_key="ztf:3", verdict_id="third")
    found = told(FIRST, SECOND, retraction_of(SECOND), third, only="new")
    assert found == [(1, "initial"), (2, "retraction")]


def test_a_retraction_leaves_the_ranking_to_the_next_which_is_told() -> None:
    sky = [
        a_verdict(n, anomaly_p_value=p, inputs_digest=str(n), emitted_at=datetime.now(UTC))
        for n, p in enumerate([0.1, 0.2, 0.3, 0.4])
    ]
    source = MemorySource(as_messages([*sky, retraction_of(sky[0])], partitions=1))
    with subscription(source, conditions=Conditions(tense="any", strangest=2)) as verdicts:
        found = [(v.alert_id, v.is_retraction) for v in verdicts]
        assert found == [(0, False), (1, False), (0, True), (2, False)]
        assert [v.alert_id for v in verdicts.strangest] == [1, 2]


def ranked(number: int, p_value: float, *, of: str) -> Verdict:
    """Return a verdict of now on an alert of an object."""
    parts = {"anomaly_p_value": p_value, "inputs_digest": str(number), "emitted_at": datetime.now(UTC)}
    return a_verdict(number, object_id=of, **parts)


def test_what_moves_up_for_one_that_is_withdrawn_is_told_once() -> None:
    sky = [ranked(n, p, of=f"ztf:{n}") for n, p in enumerate([0.3, 0.1, 0.2, 0.4])]
    back = [*map(retraction_of, sky)]
    # Told and pushed out, alert 0 is not told again; alert 3 was never among the two strangest until then.
    found = told(*sky, back[1], back[1], back[2], sky[3], strangest=2)
    before = [(n, "initial") for n in (0, 1, 2)]
    assert found == [*before, (1, "retraction"), (2, "retraction"), (3, "initial")]
    # An alert that comes again after its retraction is told again, as it is in the ranking again.
    assert told(sky[0], back[0], sky[0], strangest=2) == [(0, "initial"), (0, "retraction"), (0, "initial")]


def test_an_object_comes_back_with_an_earlier_alert_and_each_is_taken_back() -> None:
    first, strange, mild = ranked(1, 0.2, of="ztf:a"), ranked(2, 0.1, of="ztf:a"), ranked(3, 0.3, of="ztf:a")
    back = [*map(retraction_of, (first, strange, mild))]
    found = told(first, strange, mild, back[1], back[0], back[2], strangest=1)
    assert found == [
        (1, "initial"),
        (2, "initial"),
        (2, "retraction"),  # alert 1 stands, of which the subscriber knows
        (1, "retraction"),
        (3, "initial"),
        (3, "retraction"),
    ]


def test_what_moves_up_has_what_it_matches_of_the_watch_list() -> None:
    sky = [ranked(n, p, of=f"ztf:ZTF18abcdef{'ab'[n]}") for n, p in enumerate([0.1, 0.2])]
    watch = WatchList([], [verdict.object_id for verdict in sky])
    source = MemorySource(as_messages([*sky, retraction_of(sky[0])], partitions=1))
    conditions = Conditions(tense="any", strangest=1, watch=watch)
    with subscription(source, conditions=conditions) as verdicts:
        found = [(verdict.alert_id, verdicts.watched) for verdict in verdicts]
    names = [tuple(watch.matches(v.object_id, v.ra_deg, v.dec_deg)) for v in sky]
    assert found == [(0, names[0]), (0, names[0]), (1, names[1])]
    assert names[0] != names[1]


def test_a_message_is_done_when_all_that_is_due_of_it_was_handled() -> None:
    sky = [ranked(n, p, of=f"ztf:{n}") for n, p in enumerate([0.1, 0.2])]
    source = MemorySource(as_messages([*sky, retraction_of(sky[0])], partitions=1))
    with subscription(source, conditions=Conditions(tense="any", strangest=1)) as verdicts:
        assert [next(verdicts).alert_id for _ in range(2)] == [0, 0]
    assert source.committed == {("verdicts", 0): 2}, "alert 1 was due and not handled"


@pytest.mark.parametrize("limit", [2, 3])
def test_a_limit_does_not_part_a_retraction_from_what_moves_up_for_it(limit: int) -> None:
    sky = [ranked(n, p, of=f"ztf:{n}") for n, p in enumerate([0.1, 0.2, 0.01])]
    messages = as_messages([*sky[:2], retraction_of(sky[0]), sky[2]], partitions=1)
    source = MemorySource(messages)
    with subscription(source, conditions=Conditions(tense="any", strangest=1), limit=limit) as verdicts:
        assert [verdict.alert_id for verdict in verdicts] == [0, 0, 1]
    assert source.committed == {("verdicts", 0): 3}


def test_the_retraction_of_what_was_told_comes_whatever_it_says(tmp_path: Path) -> None:
    harmless = retraction_of(FIRST, anomaly_p_value=0.9)
    both = [(1, "initial"), (1, "retraction")]
    assert told(FIRST, harmless, harmless, selection=STRANGE) == both
    assert told(harmless, selection=STRANGE) == []
    found = []
    for part in (FIRST, harmless):
        found += told(part, selection=STRANGE, memory=ObjectMemory(tmp_path / "memory.db"))
    assert found == both


def test_every_retraction_comes_to_a_reader_with_a_list_of_their_own() -> None:
    harmless = retraction_of(FIRST, anomaly_p_value=0.9)
    for only in ("new", "changed", "all"):
        assert told(harmless, selection=STRANGE, only=only, retractions="all") == [(1, "retraction")]
    elsewhere = WatchList([Cone(ra_deg=0.0, dec_deg=80.0, radius_arcsec=1.0)])
    assert told(harmless, watch=elsewhere, retractions="all") == []


def test_the_alerts_that_were_told_last_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker_plugin.client.memory.TOLD_MAX", 3)
    with ObjectMemory() as memory:
        for key in "abcda":
            memory.note_told(key)
        assert [key for key in "abcd" if memory.was_told(key)] == ["a", "c", "d"]
        memory.forget_told("c")
        assert [key for key in "abcd" if memory.was_told(key)] == ["a", "d"]


def test_a_memory_of_an_earlier_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with closing(sqlite3.connect(path)) as earlier, earlier:
        earlier.execute(
            "CREATE TABLE objects (object_id TEXT PRIMARY KEY, top_class TEXT, p_value REAL NOT NULL, "
            "told INTEGER NOT NULL) WITHOUT ROWID"
        )
        earlier.execute("INSERT INTO objects VALUES ('ztf:a', 'EW', 0.01, 1)")
    with ObjectMemory(path) as memory:
        assert memory.of("ztf:a") == Known(top_class="EW", p_value=0.01, told=True)
    found = told(FIRST, BACK, SECOND, only="new", memory=ObjectMemory(path))
    assert found == [(1, "retraction"), (2, "initial")]
