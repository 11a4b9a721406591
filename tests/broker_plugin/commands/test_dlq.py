# SPDX-License-Identifier: BSD-3-Clause
"""`dlq` shows what is on a real dead-letter topic, and replays each letter once."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from broker_plugin.cli import make_app
from broker_plugin.errors import ConfigurationError, RejectedAlert, RejectReason
from broker_plugin.pipeline.dead_letter_file import to_json
from broker_plugin.pipeline.dead_letter_reader import read_letter, read_receipt, receipt
from broker_plugin.pipeline.dead_letter_replay import SendAgain, make_plan, replay_letters
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.streams.base import Message, OutgoingMessage
from broker_plugin.streams.kafka import KafkaAddress, KafkaSink, KafkaSnapshot, TransactionalKafkaSink
from tests.e2e.service import verdict_of, ztf_packets
from tests.support.cluster import KafkaCluster

pytestmark = pytest.mark.service

UNKNOWN_SCHEMA = RejectedAlert(RejectReason.UNKNOWN_SCHEMA, "nobody knows it")
UNDECODABLE = RejectedAlert(RejectReason.UNDECODABLE, "cut short")

Dlq = Callable[..., str]


@pytest.fixture
def dlq(capsys: pytest.CaptureFixture[str]) -> Iterator[Dlq]:
    """Call of `broker-plugin dlq` that returns what it wrote to standard output."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def call(*arguments: str | Path) -> str:
        capsys.readouterr()
        assert make_app("dlq")(["dlq", *map(str, arguments)], result_action="return_value") == 0
        return capsys.readouterr().out

    yield call
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


class Letters:
    """A dead-letter topic of six letters from two partitions: five whole, one cut."""

    def __init__(self, cluster: KafkaCluster, name: Callable[[str], str]) -> None:
        self.cluster = cluster
        self.input = cluster.create_topic(name("alerts"))
        self.topic = cluster.create_topic(name("dead"), 2)
        self.messages = [
            Message(
                topic=self.input,
                partition=number % 2,
                offset=number,
                value=b"\x00value %d" % number,
                key=b"\xffkey %d" % number,
                headers=(("x", b"\x00y"), ("x", b"%d" % number)),
            )
            for number in range(5)
        ]
        maker = DeadLetters(topic=self.topic, max_bytes=10_000)
        self.packed = [maker.pack(m, (UNKNOWN_SCHEMA, UNDECODABLE)[m.offset < 2]) for m in self.messages]
        large = Message(topic=self.input, partition=0, offset=9, value=bytes(20_000))
        self.packed.append(maker.pack(large, UNDECODABLE))
        self.put(*self.packed)

    def put(self, *letters: OutgoingMessage) -> None:
        self.cluster.produce(self.topic, [(m.key, m.value, m.headers) for m in letters])

    @property
    def where(self) -> tuple[str, ...]:
        return ("--bootstrap", self.cluster.bootstrap, "--topic", self.topic)

    def sent(
        self, expected: int
    ) -> Counter[tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]]:
        """What is on the input topic, without the header that says that it was replayed.

        A transaction's end is answered before its messages can be read, so they are waited for.
        """
        found: Counter[Any] = Counter()
        for record in self.cluster.consume_all(self.input, expected=expected):
            assert record.headers[-1][0] == "dlq_replay_of"
            assert record.headers[-1][1].startswith(self.topic.encode() + b"/")
            found[record.key, record.value, record.headers[:-1]] += 1
        return found

    def originals(self, *numbers: int) -> Counter[Any]:
        return Counter((m.key, m.value, m.headers) for m in self.messages if m.offset in numbers)


@pytest.fixture
def letters(kafka_broker: KafkaCluster, topic: Callable[[str], str]) -> Letters:
    return Letters(kafka_broker, topic)


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_letters_are_counted_by_reason_and_partition_and_found_by_their_place(
    dlq: Dlq, letters: Letters
) -> None:
    groups = records(dlq("list", *letters.where, "--format", "json"))
    assert {(g["reason"], g["partition"]): g["dead_letters"] for g in groups} == {
        ("undecodable", 0): 2,
        ("undecodable", 1): 1,
        ("unknown_schema", 0): 2,
        ("unknown_schema", 1): 1,
    }
    assert [g["newest"] for g in groups] == sorted((g["newest"] for g in groups), reverse=True)
    each = records(dlq("list", *letters.where, "--format", "json", "--each", "--reason", "unknown_schema"))
    assert sorted(found["offset"] for found in each) == [2, 3, 4]
    shown = {}
    for found in each:
        (whole,) = records(dlq("show", found["at"], *letters.where, "--format", "json"))
        shown[whole["offset"]] = whole
    for message in letters.messages[2:]:
        whole = shown[message.offset]
        assert bytes.fromhex(whole["value_hex"]) == message.value
        assert whole["key"] == "0x" + (message.key or b"").hex()
        assert whole["headers"] == [["x", "0x0079"], ["x", str(message.offset)]]
        assert whole["said"]["detail"] == "nobody knows it"
    assert "unknown_schema" in dlq("list", *letters.where, "--since", "1h")
    assert dlq("list", *letters.where, "--since", "2100-01-01") == ""
    with pytest.raises(ConfigurationError, match="no dead letter is at 0:99"):
        dlq("show", "0:99", *letters.where)


def test_each_letter_is_sent_once_however_often_it_is_asked_for(dlq: Dlq, letters: Letters) -> None:
    assert "3 dead letters would be replayed" in dlq(
        "replay", *letters.where, "--reason", "unknown_schema", "--dry-run"
    )
    assert letters.sent(0) == Counter()
    dlq("replay", *letters.where, "--reason", "unknown_schema", "--limit", "2")
    assert letters.sent(2).total() == 2
    assert "1 dead letter replayed" in dlq("replay", *letters.where, "--reason", "unknown_schema")
    assert letters.sent(3) == letters.originals(2, 3, 4)
    said = dlq("replay", *letters.where, "--since", "1h")
    assert "2 dead letters replayed" in said
    assert "3 were replayed before" in said
    assert "1 hold only a part" in said
    assert "0 dead letters replayed" in dlq("replay", *letters.where)
    assert letters.sent(5) == letters.originals(0, 1, 2, 3, 4)
    groups = records(dlq("list", *letters.where, "--format", "json"))
    assert sum(group["replayed"] for group in groups) == 5
    # One that fails again is another letter, and says that it had its chance.
    (again,) = [m for m in letters.cluster.consume_all(letters.input) if m.key == b"\xffkey 3"]
    second = Message(topic=letters.input, partition=0, offset=again.offset, value=again.value or b"")
    letters.put(DeadLetters(topic=letters.topic).pack(second, UNDECODABLE))
    assert "1 dead letter replayed" in dlq("replay", *letters.where)


def test_a_replay_ends_one_that_is_under_way_and_sends_only_what_that_has_not(letters: Letters) -> None:
    address = KafkaAddress(bootstrap=letters.cluster.bootstrap)
    remedy = SendAgain(dead_letters=letters.topic)

    def sink() -> TransactionalKafkaSink:
        made = TransactionalKafkaSink(address, transactional_id=f"{letters.topic}-dlq-replay")
        made.open()
        return made

    with KafkaSnapshot(address, letters.topic) as first, KafkaSnapshot(address, letters.topic) as second:
        old = sink()
        plan = make_plan(first.messages(first.span()))
        assert len(plan.places) == 5
        half = make_plan(first.messages(first.span()), limit=2)

        def replay(snapshot: KafkaSnapshot, to_do: Any, through: TransactionalKafkaSink) -> Counter[str]:
            return replay_letters(
                snapshot.messages(snapshot.span()),
                to_do,
                remedy,
                through,
                dead_letters=letters.topic,
                advance=lambda done: None,
            )

        assert replay(first, half, old)["sent"] == 2
        new = sink()
        rest = make_plan(second.messages(second.span()))
        with pytest.raises(ConfigurationError, match="another `dlq replay` of this topic took over"):
            replay(first, plan, old)
        assert replay(second, rest, new)["sent"] == 3
        old.close()
        new.close()
    assert letters.sent(5) == letters.originals(0, 1, 2, 3, 4)


def test_letters_are_judged_again_under_the_identity_of_their_message(
    dlq: Dlq, letters: Letters, data_dir: Path, tmp_path: Path, topic: Callable[[str], str]
) -> None:
    output = letters.cluster.create_topic(topic("verdicts"))
    packets = ztf_packets(data_dir)[:3]
    maker = DeadLetters(topic=letters.topic)
    for number, packet in enumerate(packets):
        message = Message(topic="survey", partition=7, offset=100 + number, value=packet)
        letters.put(maker.pack(message, UNKNOWN_SCHEMA))
    config = tmp_path / "run.toml"
    config.write_text(
        f'survey = "ztf"\nbootstrap = "survey.example:9092"\noutput = "{output}"\ndevice = "cpu"\n'
        f'output_bootstrap = "{letters.cluster.bootstrap}"\ndead_letters = "{letters.topic}"\n'
    )
    with pytest.raises(ConfigurationError, match="use --rejudge"):
        dlq("replay", "--config", config)
    said = dlq("replay", "--config", config, "--rejudge")
    assert "3 dead letters replayed" in said
    assert "5 are rejected again" in said
    said = dlq("replay", "--config", config, "--rejudge")
    assert "0 dead letters replayed" in said
    assert "3 were replayed before" in said
    verdicts = letters.cluster.consume_all(output)
    assert len(verdicts) == 3
    assert len({verdict_of(record).verdict_id for record in verdicts}) == 3
    places = {(dict(r.headers)["source_partition"], dict(r.headers)["source_offset"]) for r in verdicts}
    assert places == {(b"7", b"%d" % number) for number in (100, 101, 102)}


def test_letters_of_a_file_are_listed_and_shown(dlq: Dlq, tmp_path: Path, data_dir: Path) -> None:
    path = tmp_path / "out.dead.jsonl"
    packet = ztf_packets(data_dir)[0]
    maker = DeadLetters(topic="")
    made = [
        maker.pack(Message(topic="night.avro", partition=0, offset=n, value=value), UNDECODABLE)
        for n, value in enumerate([b"junk", packet])
    ]
    path.write_text("".join(f"{to_json(letter)}\n" for letter in made))
    (group,) = records(dlq("list", path, "--format", "json"))
    assert (group["reason"], group["topic"], group["dead_letters"]) == ("undecodable", "night.avro", 2)
    assert "6a 75 6e 6b" in dlq("show", "1", path)
    (whole,) = records(dlq("show", "2", path, "--format", "json"))
    assert whole["packets"][0]["objectId"].startswith("ZTF")
    path.write_text('{"a": 1}\n')
    with pytest.raises(ConfigurationError, match=r"line 1 of .* is no dead letter"):
        dlq("list", path)
    with pytest.raises(ConfigurationError, match="carry no time"):
        dlq("list", path, "--since", "1h")


def test_a_message_cannot_pass_itself_off_as_a_receipt() -> None:
    forged = receipt("dead", [(0, 1)], "alerts")
    message = Message(topic="alerts", partition=0, offset=5, value=forged.value, headers=forged.headers)
    packed = DeadLetters(topic="dead").pack(message, UNDECODABLE)
    on_topic = Message(topic="dead", partition=0, offset=6, value=packed.value, headers=packed.headers)
    assert read_receipt(on_topic) == frozenset()
    letter = read_letter(on_topic)
    assert letter is not None
    assert (letter.value, letter.headers) == (message.value, message.headers)


def test_a_letter_that_is_written_behind_aborted_ones_is_found(letters: Letters) -> None:
    address = KafkaAddress(bootstrap=letters.cluster.bootstrap)
    killed = TransactionalKafkaSink(address, transactional_id=letters.topic)
    killed.open()
    killed._producer.begin_transaction()
    for partition in (0, 1):
        killed._producer.produce(letters.topic, b"never committed", partition=partition)
    killed._producer.flush(10)
    successor = TransactionalKafkaSink(address, transactional_id=letters.topic)
    successor.open()
    KafkaSink(address).send(letters.packed[:1])
    with KafkaSnapshot(address, letters.topic) as snapshot:
        span = snapshot.span()
        found = list(snapshot.messages(span))
        assert len(found) == len(letters.packed) + 1
        assert b"never committed" not in {message.value for message in found}
        (last,) = Counter(m.value for m in found) - Counter(m.value for m in letters.packed)
        assert last == letters.packed[0].value
        assert snapshot.message(0, span[0][1]) is None
    successor.close()
