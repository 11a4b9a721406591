# SPDX-License-Identifier: BSD-3-Clause
"""The ledger says what was done: no more than was acknowledged, and no less than was committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.topic_schema import topic_schema
from broker_plugin.nights import night_of, noon_of
from broker_plugin.pipeline import ledger as ledger_module
from broker_plugin.pipeline.delivery import AtLeastOnce
from broker_plugin.pipeline.exactly_once import ExactlyOnce
from broker_plugin.pipeline.ledger import Ledger, Stretch
from broker_plugin.pipeline.ledger_reader import LedgerReader, covered
from broker_plugin.pipeline.offset_ranges import OffsetRanges
from broker_plugin.pipeline.outbox import Parcel
from broker_plugin.streams.base import Message, OutgoingMessage
from broker_plugin.streams.kafka import KafkaAddress, KafkaSource, TransactionalKafkaSink
from broker_plugin.streams.memory import MemorySink, MemorySource
from broker_plugin.streams.ownership import Place

Result = TypeVar("Result")

NIGHT = date(2026, 11, 27)
EVENING = noon_of("ztf", NIGHT) + timedelta(hours=7)


def new_ledger(group: str = "g", *, ends_reached: Callable[[], dict[Place, int]] = dict) -> Ledger:
    return Ledger(
        "ledger",
        survey="ztf",
        group=group,
        output="verdicts",
        dead_letters="dead",
        encode=topic_schema("ledger.v1").container,
        ends_reached=ends_reached,
    )


def parcel(
    offset: int,
    *,
    topic: str = "alerts",
    partition: int = 0,
    when: datetime = EVENING,
    to: Sequence[str] = ("verdicts",),
) -> Parcel:
    message = Message(
        topic=topic,
        partition=partition,
        offset=offset,
        value=b"",
        timestamp_ms=int(when.timestamp() * 1000),
    )
    place = b"%d/%d" % (partition, offset)
    return Parcel(message=message, contents=tuple(OutgoingMessage(topic=name, value=place) for name in to))


def read(messages: Sequence[OutgoingMessage], group: str = "g") -> dict[Place, list[Stretch]]:
    """What a reader of the compacted topic finds."""
    reader = LedgerReader(group, SchemaStore(installed=False))
    for offset, sent in enumerate(messages):
        reader.take(Message(topic="ledger", partition=0, offset=offset, value=sent.value, key=sent.key))
    assert reader.foreign == 0
    return reader.by_place()


def written(ledger: Ledger, *batches: Sequence[Parcel]) -> dict[Place, list[Stretch]]:
    sent: list[OutgoingMessage] = []
    for batch in batches:
        entry = ledger.entry(batch)
        sent += entry.messages
        ledger.accept(entry)
    return read(sent)


def test_batches_of_a_night_are_one_stretch() -> None:
    both = ("verdicts", "verdicts", "candidates")
    found = written(
        new_ledger(),
        [parcel(5, to=both), parcel(6), parcel(3, partition=1)],
        [parcel(7, to=["dead"]), parcel(8, to=[]), parcel(4, partition=1)],
    )
    (zero,), (one,) = found["alerts", 0], found["alerts", 1]
    assert (zero.night, zero.first_offset, zero.last_offset, zero.messages) == (NIGHT, 5, 8, 4)
    assert (zero.verdicts, zero.dead_letters, zero.duplicates, zero.complete) == (3, 1, 0, False)
    assert covered([zero]) == OffsetRanges.of([(5, 8)])
    assert (one.first_offset, one.last_offset, one.messages) == (3, 4, 2)


def test_a_message_belongs_to_the_night_of_its_own_time_and_ends_the_one_before() -> None:
    noon = noon_of("ztf", NIGHT + timedelta(days=1))
    batch = [parcel(1), parcel(2, when=noon - timedelta(seconds=1)), parcel(3, when=noon), parcel(4)]
    found = {stretch.night: stretch for stretch in written(new_ledger(), batch)["alerts", 0]}
    first, second = found[NIGHT], found[NIGHT + timedelta(days=1)]
    assert (covered([first]), first.complete) == (OffsetRanges.of([(1, 2), (4, 4)]), True)
    assert (covered([second]), second.complete) == (OffsetRanges.of([(3, 3)]), False)
    # The one that came late is still counted.
    assert first.messages == 3


def test_a_message_from_the_future_is_of_tonight_and_ends_nothing() -> None:
    tonight = night_of("ztf", datetime.now(UTC))
    batch = [parcel(1, when=datetime.now(UTC)), parcel(2, when=datetime(2062, 1, 1, tzinfo=UTC))]
    (found,) = written(new_ledger(), batch)["alerts", 0]
    assert (found.night, found.complete) == (tonight, False)
    assert covered([found]) == OffsetRanges.of([(1, 2)])


def test_one_night_of_one_partition_does_not_end_that_of_another() -> None:
    later = EVENING + timedelta(days=1)
    found = written(new_ledger(), [parcel(1), parcel(1, partition=1)], [parcel(2, when=later)])
    assert {stretch.night: stretch.complete for stretch in found["alerts", 0]} == {
        NIGHT: True,
        NIGHT + timedelta(days=1): False,
    }
    assert [stretch.complete for stretch in found["alerts", 1]] == [False]


def test_the_topic_of_a_night_is_complete_when_the_next_has_begun_and_nothing_is_left() -> None:
    reached: dict[Place, int] = {}
    ledger = new_ledger(ends_reached=lambda: reached)
    tomorrow = EVENING + timedelta(days=1)
    batches = [
        [parcel(n, topic="night-1", partition=p) for p in (0, 1, 2) for n in range(5)],
        [parcel(0, topic="night-2", when=tomorrow)],
    ]
    reached |= {("night-1", 0): 5, ("night-1", 1): 9, ("night-2", 0): 1}  # four of partition 1 lie ahead
    found = written(ledger, *batches)
    assert {place: stretch.complete for place, (stretch,) in found.items()} == {
        ("night-1", 0): True,
        ("night-1", 1): False,
        ("night-1", 2): False,  # nobody knows where it ends
        ("night-2", 0): False,
    }
    rest = [parcel(n, topic="night-1", partition=1) for n in range(5, 9)]
    assert [stretch.complete for stretch in written(ledger, rest)["night-1", 1]] == [True]


def test_what_no_transaction_has_said_is_said_by_the_next() -> None:
    reached: dict[Place, int] = {}
    ledger = new_ledger(ends_reached=lambda: reached)
    tomorrow = EVENING + timedelta(days=1)
    tonight = [parcel(n, topic="night-2", when=tomorrow) for n in range(3)]
    written(ledger, [parcel(0, topic="night-1")], tonight[:1])
    reached["night-1", 0] = 1
    nowhere = KafkaAddress(bootstrap="127.0.0.1:9")
    source = KafkaSource(nowhere, ["night-2"], group="g")  # the message is not its own, so nothing is sent
    sink = TransactionalKafkaSink(nowhere, transactional_id="g-0")
    assert ExactlyOnce(source, sink, ledger=ledger).deliver(tonight[1:2], lambda _, step: step()) == []
    assert [stretch.complete for stretch in written(ledger, tonight[2:])["night-1", 0]] == [True]


def test_offsets_without_a_message_are_gaps() -> None:
    (stretch,) = written(new_ledger(), [parcel(1), parcel(3)], [parcel(10)])["alerts", 0]
    assert stretch.gaps == ((2, 2), (4, 9))
    assert (stretch.messages, len(covered([stretch]))) == (3, 3)


def test_what_comes_again_begins_a_stretch_and_is_a_duplicate() -> None:
    found = written(new_ledger(), [parcel(n) for n in range(5)], [parcel(n) for n in range(3, 8)])
    first, second = sorted(found["alerts", 0], key=lambda stretch: stretch.first_offset)
    assert (first.first_offset, first.last_offset, first.duplicates) == (0, 4, 0)
    assert (second.first_offset, second.last_offset, second.duplicates) == (3, 7, 2)
    assert covered([first, second]) == OffsetRanges.of([(0, 7)])


def test_an_entry_that_was_not_written_leaves_no_trace() -> None:
    ledger = new_ledger()
    ledger.entry([parcel(0)])
    (stretch,) = written(ledger, [parcel(4)])["alerts", 0]
    assert stretch.first_offset == 4


def test_after_a_doubt_nothing_is_written_over() -> None:
    ledger = new_ledger()
    sent = list(ledger.entry([parcel(0), parcel(1)]).messages)
    ledger.forget()  # nobody said whether that arrived
    entry = ledger.entry([parcel(2)])
    sent += entry.messages
    assert covered(read(sent)["alerts", 0]) == OffsetRanges.of([(0, 2)])
    assert covered(read(entry.messages)["alerts", 0]) == OffsetRanges.of([(2, 2)])


def test_entries_and_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "GAPS_MAX", 4)
    monkeypatch.setattr(ledger_module, "OPEN_MAX", 3)
    ledger = new_ledger()
    found = written(ledger, [parcel(n) for n in range(0, 40, 2)])
    assert max(len(stretch.gaps) for stretch in found["alerts", 0]) == 4
    assert covered(found["alerts", 0]) == OffsetRanges.of_offsets(range(0, 40, 2))
    for partition in range(20):
        ledger.accept(ledger.entry([parcel(0, partition=partition)]))
    assert len(ledger._open) == 3


def test_entries_of_another_group_are_passed_over() -> None:
    sent = [*new_ledger("g").entry([parcel(0)]).messages, *new_ledger("other").entry([parcel(1)]).messages]
    assert covered(read(sent)["alerts", 0]) == OffsetRanges.of([(0, 0)])


class Killed(Exception):
    """The process is gone."""


class Fate:
    """Kills at the given step of those that reach outside, before or after it took effect."""

    def __init__(self, step: int, *, effective: bool) -> None:
        self.left = step
        self.effective = effective

    def meets(self, step: Callable[[], None]) -> None:
        if self.left == 0:
            if self.effective:
                step()
            raise Killed
        self.left -= 1
        step()


class MortalSink(MemorySink):
    """Keeps what it was sent over the deaths of its process."""

    fate = Fate(-1, effective=False)

    def send(self, messages: Sequence[OutgoingMessage]) -> None:
        self.fate.meets(lambda: MemorySink.send(self, messages))


class MortalSource(MemorySource):
    """Keeps what was committed."""

    fate = Fate(-1, effective=False)

    def commit(self, messages: Sequence[Message]) -> None:
        self.fate.meets(lambda: MemorySource.commit(self, messages))


@given(
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    kills=st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=6),
)
def test_wherever_it_is_killed_the_ledger_covers_what_is_committed_and_nothing_that_was_not_acknowledged(
    sizes: list[int], kills: list[tuple[int, bool]]
) -> None:
    parcels = {
        (m.partition, m.offset): parcel(m.offset, partition=m.partition)
        for m in (parcel(n // 2, partition=n % 2).message for n in range(30))
    }
    source, sink = MortalSource([p.message for p in parcels.values()]), MortalSink()
    for step, effective in [*kills, (-1, False)]:
        source.fate = sink.fate = Fate(step, effective=effective)
        source.restart()
        try:
            delivery, turn = AtLeastOnce(source, sink, ledger=new_ledger()), 0
            while batch := source.poll(sizes[turn % len(sizes)], 0.0):
                turn += 1
                delivery.deliver([parcels[m.partition, m.offset] for m in batch], at_once)
        except Killed:
            pass
        stretches = read(sink.on("ledger"))
        for partition in (0, 1):
            done = covered(stretches.get(("alerts", partition), ()))
            committed = source.committed.get(("alerts", partition), 0)
            acknowledged = acknowledged_offsets(sink, partition)
            assert len(OffsetRanges.of([(0, committed - 1)]) - done) == 0
            assert len(done - OffsetRanges.of_offsets(acknowledged)) == 0
    assert source.committed == {("alerts", 0): 15, ("alerts", 1): 15}
    assert all(covered(stretches["alerts", p]) == OffsetRanges.of([(0, 14)]) for p in (0, 1))


def at_once(stage: str, step: Callable[[], Result]) -> Result:
    return step()


def acknowledged_offsets(sink: MemorySink, partition: int) -> set[int]:
    places = (sent.value.split(b"/") for sent in sink.on("verdicts"))
    return {int(offset) for found, offset in places if int(found) == partition}


def test_a_message_without_a_time_belongs_to_the_night_in_which_it_is_done() -> None:
    bare = Parcel(message=Message(topic="alerts", partition=0, offset=0, value=b""), contents=())
    (stretch,) = written(new_ledger(), [bare])["alerts", 0]
    assert abs(noon_of("ztf", stretch.night) + timedelta(hours=12) - datetime.now(UTC)) <= timedelta(hours=12)
