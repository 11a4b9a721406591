# SPDX-License-Identifier: BSD-3-Clause
"""Who was told of an object is told when its alert is withdrawn, and nobody else is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from broker_plugin.client import ObjectMemory, Verdict
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


def test_a_retraction_leaves_the_ranking_to_those_behind() -> None:
    sky = [
        a_verdict(n, anomaly_p_value=p, inputs_digest=str(n), emitted_at=datetime.now(UTC))
        for n, p in enumerate([0.1, 0.2, 0.3, 0.4])
    ]
    source = MemorySource(as_messages([*sky, retraction_of(sky[0])], partitions=1))
    with subscription(source, conditions=Conditions(tense="any", strangest=2)) as verdicts:
        assert [(v.alert_id, v.is_retraction) for v in verdicts] == [(0, False), (1, False), (0, True)]
        assert [v.alert_id for v in verdicts.strangest] == [1, 2]


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
