# SPDX-License-Identifier: BSD-3-Clause
"""What the loop has finished with is committed, what it has not comes again, and news is news once."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.client import Cone, ObjectMemory, Subscription, Verdict, WatchList
from broker_plugin.client.conditions import Conditions
from broker_plugin.client.subscription import Reading
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.verdict import Revision, Tense, encode_container, schema_text, to_record
from broker_plugin.errors import ConfigurationError, TransientError
from broker_plugin.pipeline.selection import Selection
from broker_plugin.pipeline.verdict_reader import verdict_reader
from broker_plugin.streams.base import Message
from broker_plugin.streams.memory import MemorySource
from tests.broker_plugin.client.verdicts import a_verdict, as_messages

READ = verdict_reader(SchemaStore()).read

VERDICTS = [a_verdict(number) for number in range(20)]


class Crash(Exception):
    """The reader's own fault."""


def subscription(source: Reading, **how: Any) -> Subscription[Verdict]:
    usual = {"conditions": Conditions(tense="any"), "timeout_s": 0.0}
    return Subscription(source, READ, verdict_of=lambda verdict: verdict, **{**usual, **how})


def numbers(verdicts: Iterable[Verdict]) -> list[int]:
    return [verdict.alert_id for verdict in verdicts]


def test_all_come_and_all_are_committed() -> None:
    source = MemorySource(as_messages(VERDICTS))
    with subscription(source) as verdicts:
        assert sorted(numbers(verdicts)) == list(range(20))
    assert sum(source.committed.values()) == 20


@given(
    stops=st.lists(
        st.tuples(st.integers(1, 8), st.sampled_from(["raise", "break", "limit", "give back"])), max_size=6
    ),
    partitions=st.integers(1, 4),
)
def test_whatever_ends_it_nothing_unfinished_is_lost(stops: list[tuple[int, str]], partitions: int) -> None:
    source = MemorySource(as_messages(VERDICTS, partitions=partitions))
    finished: list[int] = []
    for after, how in [*stops, (1000, "limit")]:
        source.restart()
        handled = leave(source, after, how)
        assert not set(handled) & set(finished), "what was finished and committed came again"
        finished += handled
        assert sum(source.committed.values()) == len(finished)
    assert sorted(finished) == list(range(20))


def leave(source: MemorySource, after: int, how: str) -> list[int]:
    """Read until the given one, leave in the given way, and return what was finished."""
    handled: list[int] = []
    with suppress(Crash), subscription(source, limit=after if how == "limit" else None) as verdicts:
        for verdict in verdicts:
            if len(handled) + 1 == after and how == "raise":
                raise Crash
            if len(handled) + 1 == after and how == "give back":
                verdicts.give_back()
                continue
            handled.append(verdict.alert_id)
            if len(handled) == after and how == "break":
                break
    return handled


def test_without_a_with_block_what_is_in_hand_at_a_break_is_not_committed() -> None:
    source = MemorySource(as_messages(VERDICTS, partitions=1))
    verdicts = subscription(source)
    for verdict in verdicts:
        if verdict.alert_id == 4:
            break
    verdicts.close()
    assert source.committed == {("verdicts", 0): 4}
    assert list(verdicts) == []


def test_what_another_member_of_the_group_was_given_is_left_to_it() -> None:
    source = MemorySource(as_messages(VERDICTS, partitions=2))
    found = []
    with subscription(source) as verdicts:
        for verdict in verdicts:
            found.append(verdict.alert_id)
            if len(found) == 5:
                source.take_away("verdicts", 1)
    assert found == [0, 1, 2, 3, 4, *range(6, 20, 2)]
    assert source.committed == {("verdicts", 0): 10}


def test_what_is_no_verdict_is_passed_over_and_said_once() -> None:
    said: list[str] = []
    junk = [Message(topic="verdicts", partition=9, offset=n, value=b"junk") for n in range(3)]
    source = MemorySource([*junk, *as_messages(VERDICTS)])
    with subscription(source, warn=said.append) as verdicts:
        assert len(numbers(verdicts)) == 20
    assert source.committed["verdicts", 9] == 3
    assert len(said) == 1


def later_message(verdict: Verdict, **parts: Any) -> Message:
    """A verdict as a later minor version may send it: more fields at every level, and more symbols."""
    schema = json.loads(schema_text())
    of_field = {field["name"]: field["type"] for field in schema["fields"]}
    later = {"name": "later", "type": ["null", "string"], "default": None}
    for columns in (schema["fields"], of_field["analogues"]["items"]["fields"]):
        columns.append(later)
    for name in ("tense", "revision", "source_context"):
        of_field[name]["symbols"].append("later")
    record = to_record(verdict) | {"later": "x"} | parts
    record["analogues"] = [near | {"later": "x"} for near in record["analogues"]]
    buffer = io.BytesIO()
    fastavro.writer(buffer, schema, [record])
    return Message(topic="verdicts", partition=0, offset=verdict.alert_id, value=buffer.getvalue())


def test_a_later_minor_version_is_read_and_nobody_acts_on_a_tense_that_is_not_known() -> None:
    current = [verdict._replace(tense=Tense.CURRENT) for verdict in VERDICTS[:4]]
    parts = [{}, {"revision": "later"}, {"source_context": "later"}, {"tense": "later"}]
    later = [later_message(verdict, **part) for verdict, part in zip(current, parts, strict=True)]
    said: list[str] = []
    with subscription(MemorySource(later), warn=said.append) as verdicts:
        found = list(verdicts)
    assert said == []
    assert found == [
        current[0],
        current[1]._replace(revision=Revision.INITIAL),
        current[2]._replace(source_context="unknown"),
        current[3]._replace(tense=Tense.TEST),
    ]
    with subscription(MemorySource(later), conditions=Conditions()) as verdicts:
        assert numbers(verdicts) == [0, 1, 2]


def test_another_thread_ends_it() -> None:
    verdicts = subscription(MemorySource([]), timeout_s=None)
    timer = threading.Timer(0.2, verdicts.stop)
    timer.start()
    assert list(verdicts) == []
    timer.join()


class Shaky:
    """A source that is away for its first calls, of each kind."""

    def __init__(self, source: MemorySource, failures: int) -> None:
        self.source = source
        self.failures = {"poll": failures, "commit": failures}
        self.close, self.joined, self.keep_alive = source.close, source.joined, source.keep_alive
        self.owned = source.owned

    def poll(self, batch_max: int, timeout_s: float) -> Any:
        self._fail("poll")
        return self.source.poll(batch_max, timeout_s)

    def commit(self, messages: Any) -> None:
        self._fail("commit")
        self.source.commit(messages)

    def _fail(self, call: str) -> None:
        if self.failures[call] > 0:
            self.failures[call] -= 1
            raise TransientError(f"{call}: away")


def test_an_outage_is_waited_out() -> None:
    shaky = Shaky(MemorySource(as_messages(VERDICTS)), 1)
    said: list[str] = []
    with subscription(shaky, limit=20, timeout_s=None, warn=said.append) as verdicts:
        assert len(numbers(verdicts)) == 20
    assert sum(shaky.source.committed.values()) == 20
    assert len(said) == 2


def test_what_cannot_be_read_for_so_long_ends_it_and_is_not_committed() -> None:
    def read(value: bytes) -> Verdict:
        verdict = READ(value)
        if verdict.alert_id == 3:
            raise TransientError("the registry is away")
        return verdict

    source, said, alerts = MemorySource(as_messages(VERDICTS, partitions=1)), list[str](), list[int]()
    verdicts = Subscription(
        source,
        read,
        verdict_of=lambda verdict: verdict,
        conditions=Conditions(tense="any"),
        timeout_s=0.5,
        warn=said.append,
    )
    with verdicts:
        for verdict in verdicts:
            verdicts.wait(0.2)  # three of them are more than the timeout: the body's time is no waiting
            alerts.append(verdict.alert_id)
            begun_s = time.monotonic()
    assert 0.5 <= time.monotonic() - begun_s < 5.0
    assert alerts == [0, 1, 2]
    assert source.committed == {("verdicts", 0): 3}
    assert said == ["the registry is away; trying again"]


@pytest.mark.parametrize(
    ("conditions", "wanted"),
    [
        (Conditions(tense="current"), [1, 2, 3]),
        (Conditions(tense="archival"), [4]),
        (Conditions(tense="any"), [1, 2, 3, 4]),
        (Conditions(selection=Selection(max_p_value=0.1)), [1]),
        (Conditions(watch=WatchList(object_ids=["lsst:2"])), [2]),
        (Conditions(watch=WatchList([Cone(ra_deg=10.0, dec_deg=3.0, radius_arcsec=1.0)])), [3]),
    ],
)
def test_only_what_the_conditions_say(conditions: Conditions, wanted: list[int]) -> None:
    sky = [
        a_verdict(n, ra_deg=10.0, dec_deg=float(n), anomaly_p_value=0.05 + 0.1 * (n - 1), tense=Tense.CURRENT)
        for n in range(1, 4)
    ]
    sky[1] = sky[1]._replace(object_id="lsst:2")
    source = MemorySource(as_messages([*sky, a_verdict(4)._replace(tense=Tense.ARCHIVAL)]))
    with subscription(source, conditions=conditions) as verdicts:
        assert numbers(verdicts) == wanted
    assert (verdicts.n_read, verdicts.n_wanted) == (4, len(wanted))


def test_what_is_in_hand_is_called_what_the_watch_list_calls_it() -> None:
    sky = [a_verdict(n, object_id=f"lsst:{n}") for n in range(4)]
    watch = WatchList(object_ids={"1": "my nova", "3": ""})
    with subscription(
        MemorySource(as_messages(sky, partitions=1)), conditions=Conditions(tense="any", watch=watch)
    ) as verdicts:
        assert [(each.alert_id, verdicts.watched) for each in verdicts] == [(1, ("my nova",)), (3, ("3",))]
        assert verdicts.watched == ()


def history(*steps: tuple[str, str, float]) -> list[Message]:
    """Verdicts on objects, one after the other, each with its top class and p-value."""
    verdicts = [
        a_verdict(n, object_id=f"ztf:{name}", top_class=top, anomaly_p_value=p)
        for n, (name, top, p) in enumerate(steps)
    ]
    return as_messages(verdicts, partitions=1)


NIGHTS = history(
    ("a", "EW", 0.5),  # 0
    ("b", "RRAB", 0.9),  # 1
    ("a", "EW", 0.4),  # 2: nothing new
    ("a", "RRAB", 0.4),  # 3: another class
    ("b", "RRAB", 0.4),  # 4: less than a factor of three
    ("b", "RRAB", 0.2),  # 5: a factor of three since it was news
    ("a", "RRAB", 0.01),  # 6: strange
    ("c", "EW", 0.01),  # 7
)


@pytest.mark.parametrize(
    ("only", "selection", "wanted"),
    [
        ("new", Selection(), [0, 1, 7]),
        ("new", Selection(max_p_value=0.3), [5, 6, 7]),
        ("changed", Selection(), [3, 5, 6]),
        ("changed", Selection(max_p_value=0.3), [5, 6]),
        ("all", Selection(max_p_value=0.3), [5, 6, 7]),
    ],
)
@pytest.mark.parametrize("sittings", [1, 3, 8])
def test_news_is_news_once_however_often_the_reader_restarts(
    tmp_path: Path, only: Any, selection: Selection, wanted: list[int], sittings: int
) -> None:
    source, found = MemorySource(NIGHTS), []
    for _ in range(sittings):
        source.restart()
        memory = ObjectMemory(tmp_path / "memory.db")
        wishes = Conditions(tense="any", only=only, selection=selection)
        with subscription(
            source, conditions=wishes, memory=memory, limit=None if sittings == 1 else 1
        ) as verdicts:
            found += numbers(verdicts)
    assert found == wanted[: max(sittings, len(wanted) if sittings == 1 else 0)]


def test_an_object_that_leaves_and_comes_back_has_changed() -> None:
    source = MemorySource(history(("a", "EW", 0.5), ("a", "RRAB", 0.5), ("a", "EW", 0.5), ("a", "RRAB", 0.5)))
    wishes = Conditions(
        tense="any", only="changed", selection=Selection(min_probability=None, max_p_value=1.0)
    )
    with subscription(source, conditions=wishes) as verdicts:
        assert numbers(verdicts) == [1, 2, 3]


def test_an_unfinished_one_is_news_still(tmp_path: Path) -> None:
    path, source = tmp_path / "memory.db", MemorySource(history(("a", "EW", 0.5)))
    wishes = Conditions(tense="any", only="new")
    with suppress(Crash), subscription(source, conditions=wishes, memory=ObjectMemory(path)) as verdicts:
        next(verdicts)
        raise Crash
    source.restart()
    with subscription(source, conditions=wishes, memory=ObjectMemory(path)) as verdicts:
        assert numbers(verdicts) == [0]


def test_a_memory_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    path.write_bytes(b"no database, but some other file that is there " * 100)
    with pytest.raises(ConfigurationError, match=r"memory\.db"):
        ObjectMemory(path)
    with pytest.raises(ConfigurationError, match="of its own"):
        ObjectMemory(tmp_path / "no-folder" / "memory.db")


def test_the_strangest_of_a_night_are_told_as_they_enter(now: Callable[[], Any]) -> None:
    ps = [0.5, 0.9, 0.3, 0.8, 0.1, 0.6]
    sky = [a_verdict(n, anomaly_p_value=p, inputs_digest=str(n), emitted_at=now()) for n, p in enumerate(ps)]
    source = MemorySource(as_messages(sky, partitions=1))
    with subscription(source, conditions=Conditions(tense="any", strangest=2)) as verdicts:
        assert numbers(verdicts) == [0, 1, 2, 4]
        assert numbers(verdicts.strangest) == [4, 2]


def test_what_came_before_noon_is_ranked_for_who_begins_in_the_past() -> None:
    long_ago = datetime.now(UTC) - timedelta(days=5)
    sky = [a_verdict(n, anomaly_p_value=0.1 * (n + 1), emitted_at=long_ago) for n in range(4)]
    for ranked, wanted in ((False, []), (True, [0, 1])):
        conditions = Conditions(tense="any", strangest=2, ranked_from_start=ranked)
        source = MemorySource(as_messages(sky, partitions=1))
        with subscription(source, conditions=conditions) as verdicts:
            assert numbers(verdicts) == wanted


@pytest.fixture
def now() -> Callable[[], Any]:
    return lambda: datetime.now(UTC)


def test_a_verdict_survives_the_way(now: Callable[[], Any]) -> None:
    verdict = a_verdict(1)
    assert READ(encode_container(verdict)) == verdict
