# SPDX-License-Identifier: BSD-3-Clause
"""A dead letter holds the whole message, unless it is too large or not for its readers."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any

import fastavro
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from broker_plugin.codec.decoder import Decoder
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import ConfigurationError, RejectedAlert, RejectReason
from broker_plugin.pipeline.dead_letters import PREFIX, DeadLetters, can_shrink, shrink
from broker_plugin.pipeline.filter import AlertFilter
from broker_plugin.pipeline.outbox import Outbox
from broker_plugin.pipeline.runner import Runner
from broker_plugin.records import Access
from broker_plugin.streams.base import Message, OutgoingMessage
from broker_plugin.streams.limits import wire_size
from broker_plugin.streams.memory import MemorySink, MemorySource

UNREADABLE = RejectedAlert(RejectReason.UNDECODABLE, "what was found")
EXCERPT = 4096


def ours(letter: OutgoingMessage) -> dict[str, str]:
    """The last of each of our headers."""
    return {n.removeprefix(PREFIX): v.decode() for n, v in letter.headers if n.startswith(PREFIX)}


def message(**changes: Any) -> Message:
    given: dict[str, Any] = {"topic": "alerts", "partition": 2, "offset": 17, "value": b"value"}
    return Message(**(given | changes))


def test_a_dead_letter_holds_the_message_and_says_where_it_is_from_and_why() -> None:
    original = message(key=b"\xffkey", headers=(("a", b"\x00"), ("a", b"again")))
    letter = DeadLetters(topic="dead").pack(original, UNREADABLE)
    assert (letter.topic, letter.value, letter.key) == ("dead", original.value, original.key)
    assert letter.headers[:2] == original.headers
    headers = ours(letter)
    assert headers.pop("plugin_version")
    assert headers == {
        "reason": "undecodable",
        "detail": "what was found",
        "topic": "alerts",
        "partition": "2",
        "offset": "17",
        "sha256": hashlib.sha256(b"value").hexdigest(),
        "size": "5",
        "truncated": "false",
        "redacted": "false",
    }


@given(
    size=st.sampled_from([0, 4]) | st.integers(0, 60_000),
    key=st.none() | st.binary(max_size=30_000),
    headers=st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=8_000)), max_size=4).map(tuple),
    max_bytes=st.integers(10_000, 50_000),
)
def test_no_dead_letter_exceeds_the_limit_and_each_has_the_digest_of_the_whole(
    size: int, key: bytes | None, headers: tuple[tuple[str, bytes], ...], max_bytes: int
) -> None:
    original = message(value=(bytes(range(256)) * (size // 256 + 1))[:size], key=key, headers=headers)
    letter = DeadLetters(topic="dead", max_bytes=max_bytes).pack(original, UNREADABLE)
    assert wire_size(letter) <= max_bytes
    found = ours(letter)
    assert found["sha256"] == hashlib.sha256(original.value).hexdigest()
    assert found["size"] == str(len(original.value))
    if found["truncated"] == "true":
        assert letter.value == original.value[:EXCERPT]
    else:
        assert (letter.value, letter.key) == (original.value, key)


def test_a_dead_letter_of_a_dead_letter_is_truncated_by_its_own_mark() -> None:
    first = DeadLetters(topic="dead", max_bytes=10_000).pack(message(value=bytes(20_000)), UNREADABLE)
    again = message(value=bytes(20_000), key=first.key, headers=first.headers)
    second = DeadLetters(topic="dead").pack(again, UNREADABLE)
    assert ours(second)["truncated"] == "false"
    assert ours(shrink(second))["truncated"] == "true"


def test_what_cannot_be_shortened_is_the_topics_fault() -> None:
    short = DeadLetters(topic="dead").pack(message(), UNREADABLE)
    long = shrink(DeadLetters(topic="dead").pack(message(value=bytes(9_000)), UNREADABLE))
    for letter in (short, long, OutgoingMessage(topic="verdicts", value=bytes(9_000))):
        with pytest.raises(ConfigurationError, match=r"max\.message\.bytes"):
            shrink(letter)


FOREIGN = {
    "headers": {"value": b"junk", "headers": (("h", bytes(1_010_000)),)},
    "key": {"value": b"", "key": bytes(1_100_000)},
    "headers of our names": {"value": b"junk", "headers": ((f"{PREFIX}detail", bytes(1_010_000)),)},
}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_large_key_or_large_headers_are_given_up_and_the_value_kept(foreign: str) -> None:
    original = message(**FOREIGN[foreign])
    letter = DeadLetters(topic="dead").pack(original, UNREADABLE)
    assert wire_size(letter) < 10_000
    assert (letter.value, letter.key) == (original.value, None)
    headers = ours(letter)
    assert headers["sha256"] == hashlib.sha256(original.value).hexdigest()
    assert (headers["detail"], headers["truncated"]) == ("what was found", "true")
    assert not can_shrink(letter)


def test_a_topic_that_takes_less_than_the_headers_gets_the_rest(
    decoder: Decoder, scorer: Scorer, native_packets: list[bytes]
) -> None:
    headers = (("h", bytes(30_000)),)
    inputs = [
        message(value=b"junk", headers=headers),
        message(value=bytes(9_000), key=bytes(30_000), headers=headers, offset=18),
        message(value=b"small", key=b"key", headers=(("a", b"b"),), offset=19),
    ]
    source, sink = MemorySource(inputs), MemorySink(message_max_bytes=20_000)
    Runner(source, sink, AlertFilter(decoder, scorer), Outbox("verdicts", DeadLetters(topic="dead"))).run()
    letters = {ours(letter)["offset"]: letter for letter in sink.on("dead")}
    assert [(letters[n].value, letters[n].key) for n in ("17", "18", "19")] == [
        (b"junk", None),
        (bytes(EXCERPT), None),
        (b"small", b"key"),
    ]
    assert source.committed == {("alerts", 2): 20}


@pytest.mark.parametrize(
    ("access", "declared", "undecodable", "shown"),
    [
        (None, {Access.PUBLIC}, True, True),
        (None, set(Access), False, False),
        ({Access.PUBLIC}, {Access.PUBLIC}, False, True),
        (set(), {Access.PUBLIC}, False, True),
        ({Access.PUBLIC, Access.PARTNERSHIP}, {Access.PUBLIC}, True, False),
        ({Access.PUBLIC, Access.PARTNERSHIP}, {Access.PUBLIC, Access.PARTNERSHIP}, True, True),
        ({Access.PRIVATE}, {Access.PUBLIC, Access.PARTNERSHIP, Access.CALTECH}, True, False),
    ],
)
def test_only_what_its_readers_may_see_is_shown(
    access: set[Access] | None, declared: set[Access], undecodable: bool, shown: bool
) -> None:
    rejection = RejectedAlert(
        RejectReason.INVALID_VALUE, "detail", access=None if access is None else frozenset(access)
    )
    letters = DeadLetters(topic="dead", declared=frozenset(declared), undecodable=undecodable)
    original = message(key=b"key", headers=(("secret", b"header"),))
    letter = letters.pack(original, rejection)
    assert (letter.value == original.value) is shown
    if not shown:
        assert (letter.value, letter.key) == (b"", None)
        assert set(ours(letter)) == {"reason", "topic", "partition", "offset", "plugin_version", "redacted"}
        assert {name for name, _ in letter.headers if not name.startswith(PREFIX)} == set()


@pytest.fixture
def all_events() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))
    yield
    structlog.reset_defaults()


def relabelled(value: bytes, programid: int) -> tuple[bytes, dict[str, Any]]:
    """A real packet whose trigger and history are not public."""
    reader = fastavro.reader(io.BytesIO(value))
    (packet,) = reader
    assert isinstance(packet, dict)
    for epoch in (packet["candidate"], *(packet["prv_candidates"] or ()), *(packet.get("fp_hists") or ())):
        epoch["programid"] = programid
    buffer = io.BytesIO()
    assert reader.writer_schema is not None
    fastavro.writer(buffer, reader.writer_schema, [packet])
    return buffer.getvalue(), packet


@pytest.mark.parametrize("programid", [2, 3])
def test_a_private_packet_leaves_no_trace(
    decoder: Decoder, scorer: Scorer, native_packets: list[bytes], all_events: None, programid: int
) -> None:
    value, packet = relabelled(native_packets[0], programid)
    key = packet["objectId"].encode()
    private = message(value=value, key=key, headers=(("objectId", key),))
    public = message(value=native_packets[1], offset=18)
    sink = MemorySink()
    outbox = Outbox("verdicts", DeadLetters(topic="dead"))
    with capture_logs() as events:
        Runner(MemorySource([private, public]), sink, AlertFilter(decoder, scorer), outbox).run()
    (letter,) = sink.on("dead")
    assert ours(letter)["reason"] == "access"
    assert len(sink.on("verdicts")) == 1
    assert any(event["event"] == "alert_rejected" for event in events)
    traces = repr((letter.value, letter.key, letter.headers, events)).encode()
    candidate = packet["candidate"]
    secrets = [
        packet["objectId"],
        *(str(candidate[name]) for name in ("magpsf", "sigmapsf", "ra", "dec", "jd")),
        str(packet["candid"]),
        hashlib.sha256(value).hexdigest(),
    ]
    assert [secret for secret in secrets if secret.encode() in traces] == []
    assert (letter.value, letter.key) == (b"", None)


def test_readers_with_the_right_see_the_private_packet(
    decoder: Decoder, scorer: Scorer, native_packets: list[bytes]
) -> None:
    value, _ = relabelled(native_packets[0], 2)
    everyone = DeadLetters(topic="dead", declared=frozenset({Access.PUBLIC, Access.PARTNERSHIP}))
    sink = MemorySink()
    Runner(
        MemorySource([message(value=value)]), sink, AlertFilter(decoder, scorer), Outbox("verdicts", everyone)
    ).run()
    (letter,) = sink.on("dead")
    assert letter.value == value
