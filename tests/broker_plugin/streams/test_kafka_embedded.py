# SPDX-License-Identifier: BSD-3-Clause
"""Kafka source, sink and tail on the cluster inside this process."""

from __future__ import annotations

import ctypes
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from structlog.testing import capture_logs

from broker_plugin.errors import ConfigurationError, MembershipLostError, TokenError, TransientError
from broker_plugin.streams import kafka_commit
from broker_plugin.streams.base import Message, OutgoingMessage
from broker_plugin.streams.embedded import EmbeddedKafka
from broker_plugin.streams.kafka import KafkaAddress, KafkaSink, KafkaSource, KafkaTail
from broker_plugin.streams.limits import Oversize
from broker_plugin.streams.ownership import next_offsets

Topic = Callable[[], str]

PARTITIONS = 4
"""What the embedded cluster gives a topic."""

PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def address() -> Iterator[KafkaAddress]:
    with EmbeddedKafka() as cluster:
        yield cluster.address


@pytest.fixture
def new_topic() -> Topic:
    return lambda: f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def sink(address: KafkaAddress) -> Iterator[KafkaSink]:
    sink = KafkaSink(address)
    yield sink
    sink.close()


def numbered(topic: str, numbers: Sequence[int]) -> list[OutgoingMessage]:
    return [
        OutgoingMessage(
            topic=topic,
            value=b"value %d" % n,
            key=b"key %d" % n,
            headers=(("n", b"%d" % n), ("n", b""), ("binary", b"\x00\xff")),
        )
        for n in numbers
    ]


def source_of(address: KafkaAddress, topic: str, group: str, protocol: str = "consumer") -> KafkaSource:
    # The new protocol joins at once; the embedded cluster lets a classic member wait three seconds.
    assert protocol in ("classic", "consumer")
    return KafkaSource(address, [topic], group=group, protocol=protocol)  # type: ignore[arg-type]


def gather(source: KafkaSource | KafkaTail, number: int, *, batch_max: int = 100) -> list[Message]:
    """Poll until there are so many messages."""
    found: list[Message] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < number:
        assert time.monotonic() < deadline, f"{len(found)} of {number} messages"
        found += source.poll(batch_max, 0.2)
    return found


def values(messages: Sequence[Message]) -> set[bytes]:
    return {message.value for message in messages}


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_messages_arrive_as_they_were_sent(
    address: KafkaAddress, sink: KafkaSink, new_topic: Topic, protocol: str
) -> None:
    topic = new_topic()
    sent = numbered(topic, range(50))
    sink.send([*sent, OutgoingMessage(topic=topic, value=b"")])
    source = source_of(address, topic, topic, protocol)
    found = gather(source, 51)
    assert sorted((m.topic, m.value, m.key, m.headers) for m in found if m.value) == sorted(
        (m.topic, m.value, m.key, m.headers) for m in sent
    )
    assert [(m.key, m.headers) for m in found if not m.value] == [(None, ())]
    assert len({(m.partition, m.offset) for m in found}) == 51
    assert all(m.timestamp_ms is not None for m in found)
    source.close()


def send_with_header_name(address: KafkaAddress, topic: str, name: bytes, values: Sequence[bytes]) -> None:
    """Send messages with a header of any name, which only the library's own interface lets one do."""
    # The one that the Python client has loaded: its file's name has a digest in it.
    found = re.search(r"\S*librdkafka\S*", Path("/proc/self/maps").read_text())
    assert found, "librdkafka is not a library of its own"
    library, pointer, size = ctypes.CDLL(found[0]), ctypes.c_void_p, ctypes.c_size_t
    for function in (library.rd_kafka_conf_new, library.rd_kafka_new):
        function.restype = pointer
    text = ctypes.create_string_buffer(512)
    settings = pointer(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(settings, b"bootstrap.servers", address.bootstrap.encode(), text, size(512))
    producer = pointer(library.rd_kafka_new(0, settings, text, size(512)))
    (end, topic_tag, value_tag, copy_tag, header_tag), copy = (0, 1, 4, 7, 9), 2
    for value in values:
        assert not library.rd_kafka_producev(
            producer,
            *(topic_tag, ctypes.c_char_p(topic.encode()), copy_tag, copy),
            *(value_tag, ctypes.c_char_p(value), size(len(value))),
            *(header_tag, ctypes.c_char_p(name), ctypes.c_char_p(b"v"), ctypes.c_ssize_t(1), end),
        )
    assert library.rd_kafka_flush(producer, 10_000) == 0
    library.rd_kafka_destroy(producer)


def test_a_header_name_that_is_no_text_costs_the_headers_and_nothing_else(
    address: KafkaAddress, sink: KafkaSink, new_topic: Topic
) -> None:
    topic = new_topic()
    odd = [b"odd %d" % n for n in range(100)]  # so many that the interpreter takes its short cuts
    send_with_header_name(address, topic, b"\xff\xfe", odd)
    send_with_header_name(address, topic, b"plain", [b"even"])
    tail, source = KafkaTail(address, topic, from_beginning=True), source_of(address, topic, topic)
    tail.connect(deadline_s=PATIENCE_S)
    for reader in (tail, source):
        found = {message.value: message.headers for message in gather(reader, 101)}
        assert found == dict.fromkeys(odd, ()) | {b"even": (("plain", b"v"),)}
        reader.close()


def test_poll_returns_no_more_than_it_is_asked_for(
    address: KafkaAddress, sink: KafkaSink, new_topic: Topic
) -> None:
    topic = new_topic()
    sink.send(numbered(topic, range(30)))
    source = source_of(address, topic, topic)
    sizes: list[int] = []
    while sum(sizes) < 30:
        sizes.append(len(source.poll(7, 0.2)))
    assert max(sizes) == 7
    source.close()


def test_poll_returns_when_it_has_bytes_enough(
    address: KafkaAddress, sink: KafkaSink, new_topic: Topic
) -> None:
    topic = new_topic()
    sink.send([OutgoingMessage(topic=topic, value=bytes(10_000), key=b"k") for _ in range(20)])
    source = KafkaSource(address, [topic], group=topic, protocol="consumer", batch_max_bytes=25_000)
    sizes: list[int] = []
    while sum(sizes) < 20:
        sizes.append(len(source.poll(100, 0.2)))
    assert max(sizes) == 3
    source.close()


def test_a_restart_goes_on_exactly_behind_what_was_committed(
    address: KafkaAddress, sink: KafkaSink, new_topic: Topic
) -> None:
    topic = new_topic()
    sink.send(numbered(topic, range(40)))
    first = source_of(address, topic, "group")
    polled = gather(first, 40)
    done = [message for message in polled if message.offset < 3]
    first.commit(done)
    first.close()
    second = source_of(address, topic, "group")
    rest = gather(second, 40 - len(done))
    assert values(rest) == values(polled) - values(done)
    assert second.poll(10, 0.3) == []
    second.close()


def test_nothing_is_committed_that_was_not_asked_for(
    address: KafkaAddress, sink: KafkaSink, new_topic: Topic
) -> None:
    topic = new_topic()
    sink.send(numbered(topic, range(10)))
    for _ in range(2):
        source = source_of(address, topic, "silent")
        assert len(gather(source, 10)) == 10
        source.close()


def test_the_lag_counts_what_was_not_polled_and_the_end_is_told(
    address: KafkaAddress, sink: KafkaSink, new_topic: Topic
) -> None:
    topic = new_topic()
    sink.send(numbered(topic, range(60)))
    source = source_of(address, topic, topic)
    assert not source.joined()
    polled = gather(source, 1, batch_max=1)
    assert source.joined()
    deadline = time.monotonic() + PATIENCE_S
    while sum(source.lag_by_topic().values()) != 59:  # partitions are fetched one after the other
        assert time.monotonic() < deadline, sum(source.lag_by_topic().values())
        time.sleep(0.05)
    assert not source.ends_reached()
    polled += gather(source, 60 - len(polled))
    assert sum(source.lag_by_topic().values()) == 0
    assert source.ends_reached() == next_offsets(polled)
    source.keep_alive()  # while nothing is read, brokers do not say by themselves what came
    sink.send(numbered(topic, range(60, 85)))
    assert sum(source.lag_by_topic().values()) == 25
    gather(source, 25)
    assert sum(source.lag_by_topic().values()) == 0
    source.close()


def test_a_member_that_is_kept_alive_takes_nothing_and_loses_nothing(
    address: KafkaAddress, sink: KafkaSink, new_topic: Topic
) -> None:
    topic = new_topic()
    sink.send(numbered(topic, range(200)))
    source = source_of(address, topic, topic)
    found = gather(source, 10, batch_max=10)
    for _ in range(3):
        for _ in range(20):
            source.keep_alive()
            time.sleep(0.01)
        found += gather(source, 20, batch_max=20)
    found += gather(source, 200 - len(found))
    assert len(found) == len({(m.partition, m.offset) for m in found}) == 200
    in_order = all(
        [m.offset for m in found if m.partition == p] == sorted(m.offset for m in found if m.partition == p)
        for p in range(PARTITIONS)
    )
    assert in_order
    assert len(source.owned(found)) == 200
    source.close()


class Asked:
    """A consumer of the library that notes which of its calls wait for an answer."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> object:
        call = getattr(self._consumer, name)

        def noted(*arguments: object, **options: object) -> object:
            self.calls += [name] if "timeout" in options else []
            return call(*arguments, **options)

        return noted


def test_a_look_at_the_lag_of_a_paused_member_is_one_question_for_all_partitions(
    address: KafkaAddress, sink: KafkaSink, new_topic: Topic
) -> None:
    topic = new_topic()
    sink.send(numbered(topic, range(60)))
    source = source_of(address, topic, topic)
    assert {message.partition for message in gather(source, 60)} == set(range(PARTITIONS))
    source.keep_alive()
    sink.send(numbered(topic, range(60, 70)))
    asked = Asked(source._consumer)
    source._consumer = asked  # type: ignore[assignment]
    assert sum(source.lag_by_topic().values()) == 10
    assert asked.calls == ["offsets_for_times"]
    source.close()


class Unanswered:
    """A consumer of the library whose commits never reach the coordinator."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def __getattr__(self, name: str) -> object:
        return getattr(self._consumer, name) if name != "commit" else lambda **_: None


def test_a_coordinator_that_does_not_answer_costs_bounded_memory_and_no_message(
    address: KafkaAddress, sink: KafkaSink, new_topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, number, size, bytes_max = new_topic(), 400, 1_000, 20_000
    sink.send([OutgoingMessage(topic=topic, value=b"%d" % n + bytes(size)) for n in range(number)])
    source = KafkaSource(address, [topic], group=topic, protocol="consumer", batch_max_bytes=bytes_max)
    source.connect(deadline_s=PATIENCE_S)
    found = gather(source, 10, batch_max=10)
    answering = source._consumer
    source._consumer = Unanswered(answering)  # type: ignore[assignment]
    monkeypatch.setattr(kafka_commit, "ANSWER_S", 1.0)
    for _ in range(3):  # each time long enough for hundreds of messages
        with pytest.raises(TransientError, match="no answer to a commit"):
            source.commit(found)
        assert 0 < sum(len(message.value) for message in source._ahead) < bytes_max + 2 * size
    assert sum(source.lag_by_topic().values()) == number - len(found)  # what was taken ahead is no less ahead
    source._consumer = answering
    monkeypatch.undo()
    source.commit(found)
    found += gather(source, number - len(found))
    assert len(found) == len({(m.partition, m.offset) for m in found}) == number
    assert sum(source.lag_by_topic().values()) == 0
    source.close()


def test_messages_of_a_revoked_partition_are_no_longer_ours(
    address: KafkaAddress, sink: KafkaSink, new_topic: Topic
) -> None:
    topic = new_topic()
    sink.send(numbered(topic, range(100)))
    first, second = (source_of(address, topic, "shared") for _ in range(2))
    polled = gather(first, 100)
    taken_over: list[Message] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(first.owned(polled)) == 100 or not taken_over:
        assert time.monotonic() < deadline, "no rebalance"
        first.keep_alive()
        taken_over += second.poll(100, 0.1)
    ours = first.owned(polled)
    lost = values(polled) - values(ours)
    assert 0 < len(ours) < 100
    first.commit(polled)  # of the lost ones nothing may be committed
    taken_over += gather(second, len(lost) - len(taken_over))
    assert values(taken_over) == lost
    second.close()
    first.close()
    third = source_of(address, topic, "shared")
    assert values(gather(third, len(lost))) == lost
    third.close()


def test_a_pattern_takes_in_all_matching_topics(
    address: KafkaAddress, sink: KafkaSink, new_topic: Topic
) -> None:
    stem = new_topic()
    for night in ("20260101", "20260102"):
        sink.send(numbered(f"{stem}_{night}", range(5)))
    sink.send(numbered(f"other_{stem}", range(5)))
    source = source_of(address, f"^{stem}_.*", stem, "classic")
    source.connect(deadline_s=PATIENCE_S)
    assert {message.topic for message in gather(source, 10)} == {f"{stem}_20260101", f"{stem}_20260102"}
    source.close()


def test_a_tail_begins_at_the_beginning_or_now(
    address: KafkaAddress, sink: KafkaSink, new_topic: Topic
) -> None:
    topic = new_topic()
    sink.send(numbered(topic, range(10)))
    whole, now = (KafkaTail(address, topic, from_beginning=begin) for begin in (True, False))
    for tail in (whole, now):
        tail.connect(deadline_s=PATIENCE_S)
    assert len(gather(whole, 10)) == 10
    assert now.poll(100, 1.0) == []  # by now it has found where the end is
    sink.send(numbered(topic, range(10, 15)))
    assert values(gather(now, 5)) == values(gather(whole, 5)) == {b"value %d" % n for n in range(10, 15)}
    for tail in (whole, now):
        tail.close()


def test_a_tail_that_is_overtaken_by_the_retention_goes_on_with_the_oldest_message_and_says_so(
    address: KafkaAddress, sink: KafkaSink, new_topic: Topic, rng: np.random.Generator
) -> None:
    topic, last = new_topic(), 10
    for _ in range(last + 1):  # twice as much as the cluster keeps
        sink.send([OutgoingMessage(topic=topic, value=rng.bytes(900_000), key=b"k")])
    tail = KafkaTail(address, topic)
    tail.connect(deadline_s=PATIENCE_S)
    # Offsets that were there a moment ago, when the cluster was asked for those since a moment.
    tail._consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    with capture_logs() as logged:
        found = gather(tail, 1)
        while found[-1].offset < last:
            found += gather(tail, 1)
    first = found[0].offset
    assert first > 0
    assert [message.offset for message in found] == list(range(first, last + 1))
    (lost,) = [entry for entry in logged if entry["event"] == "messages_lost"]
    assert (lost["partition"], lost["wanted"]) == (f"{topic}[{found[0].partition}]", 0)
    tail.close()


class Silent:
    """A consumer of the library that is not told where a log ends."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def __getattr__(self, name: str) -> object:
        return getattr(self._consumer, name)

    def get_watermark_offsets(self, _: TopicPartition, *, timeout: float) -> None:
        """Return what the library does where its wait is over."""


@pytest.mark.parametrize(("wanted", "goes_on_at"), [(7, 5), (3, 3)])
def test_a_tail_of_a_log_that_lost_its_end_repeats_nothing(
    address: KafkaAddress, sink: KafkaSink, new_topic: Topic, wanted: int, goes_on_at: int
) -> None:
    topic = new_topic()

    def send(number: int) -> int:
        sink.send([OutgoingMessage(topic=topic, value=b"v", key=b"k") for _ in range(number)])
        return number

    end = send(5)
    tail = KafkaTail(address, topic, from_beginning=True)
    tail.connect(deadline_s=PATIENCE_S)
    partition = gather(tail, end)[0].partition
    answering = tail._consumer
    tail._consumer = Silent(answering)  # type: ignore[assignment]
    with capture_logs() as logged:
        # What the log has is found when it is looked into, after the library has said what it lacks.
        tail._astray.append(TopicPartition(topic, partition, wanted))
        with pytest.raises(TransientError, match="looking where"):
            tail.poll(10, 0.2)
        tail._consumer = answering
        found = list(tail.poll(10, 0.0))
        end += send(3)
        found += gather(tail, end - goes_on_at - len(found))
    assert [message.offset for message in found] == list(range(goes_on_at, end))
    lost = [entry["goes_on_at"] for entry in logged if entry["event"] == "messages_lost"]
    assert lost == ([goes_on_at] if goes_on_at != wanted else [])
    tail.close()


def test_a_sink_without_brokers_is_transient() -> None:
    sink = KafkaSink(KafkaAddress(bootstrap="127.0.0.1:9"), ack_timeout_s=0.5)
    begun = time.monotonic()
    with pytest.raises(TransientError, match="TIMED_OUT"):
        sink.send([OutgoingMessage(topic="t", value=b"v")])
    # The library looks for messages that timed out once a second.
    assert time.monotonic() - begun < 3.0


def test_each_wait_of_a_sink_is_told_before_it_begins(address: KafkaAddress, new_topic: Topic) -> None:
    waits: list[int] = []
    sink = KafkaSink(address, message_max_bytes=1_000, before_wait=lambda: waits.append(1))
    large = [OutgoingMessage(topic=new_topic(), value=bytes(10_000)) for _ in range(3)]
    with pytest.raises(Oversize):
        sink.send([*large, OutgoingMessage(topic=new_topic(), value=b"small")])
    assert len(waits) == 1 + len(large)  # together, then one by one
    sink.close()


def test_a_full_queue_is_waited_for(address: KafkaAddress, new_topic: Topic) -> None:
    small = replace(
        address,
        properties={**address.properties, "queue.buffering.max.messages": "10", "linger.ms": "1"},
    )
    sink, topic = KafkaSink(small), new_topic()
    sink.send(numbered(topic, range(300)))
    tail = KafkaTail(address, topic, from_beginning=True)
    tail.connect(deadline_s=PATIENCE_S)
    assert len(gather(tail, 300)) == 300
    tail.close()
    sink.close()


def test_no_broker_at_the_start_is_transient() -> None:
    source = KafkaSource(KafkaAddress(bootstrap="127.0.0.1:9"), ["t"], group="g")
    with pytest.raises(
        TransientError, match=r"no Kafka broker answers at 127\.0\.0\.1:9 \(Connection refused\)"
    ):
        source.connect(deadline_s=0.0)
    source.close()


def test_an_identity_provider_that_is_away_is_waited_for_and_no_wrong_setting(address: KafkaAddress) -> None:
    away = replace(
        address,
        properties={
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": "us",
            "sasl.oauthbearer.client.secret": "secret",
            "sasl.oauthbearer.token.endpoint.url": "http://127.0.0.1:9/token",
        },
    )
    source, begun, deadline_s = KafkaSource(away, ["t"], group="g"), time.monotonic(), 6.0
    with pytest.raises(TokenError, match=r"refuses us: _AUTHENTICATION.*token\.endpoint\.url up"):
        source.connect(deadline_s=deadline_s)
    assert time.monotonic() - begun >= deadline_s
    source.close()


def test_a_refusal_is_over_when_the_cluster_answers_at_the_start(
    address: KafkaAddress, sink: KafkaSink, new_topic: Topic
) -> None:
    topic = new_topic()
    sink.send(numbered(topic, range(1)))
    source = source_of(address, topic, topic)
    source._admission.note(KafkaError(KafkaError._AUTHENTICATION))
    source.connect(deadline_s=PATIENCE_S)
    assert not source._admission.refused  # else its patience would be counted from here
    source.close()


def test_a_quiet_stream_whose_brokers_are_gone_is_transient() -> None:
    with EmbeddedKafka() as cluster:
        sink = KafkaSink(cluster.address)
        sink.send(numbered("alerts", range(5)))
        sink.close()
        source = source_of(cluster.address, "alerts", "g")
        source.commit(gather(source, 5))
        assert source.poll(1, 0.5) == []
    with pytest.raises(TransientError, match="looking for brokers"):
        gather(source, 1)
    source.close()


class Untold:
    """A consumer of the library that reads, and gets no answer to what it asks of topics."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self.asked_of: list[str | None] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._consumer, name)

    def list_topics(self, topic: str | None = None, *, timeout: float) -> object:
        self.asked_of.append(topic)
        time.sleep(timeout)
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def test_what_comes_after_an_outage_is_read_though_no_question_is_answered(
    address: KafkaAddress, sink: KafkaSink, new_topic: Topic
) -> None:
    topic = new_topic()
    sink.send(numbered(topic, range(5)))
    source = source_of(address, topic, topic)
    gather(source, 5)
    untold = Untold(source._consumer)
    source._consumer = untold  # type: ignore[assignment]
    source._admission.note(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    with pytest.raises(TransientError, match="looking for brokers"):
        source.poll(10, 0.2)
    assert untold.asked_of == [topic]
    sink.send(numbered(topic, range(5, 6)))
    found: Sequence[Message] = []
    for _ in range(10):
        source.keep_alive()  # as whoever tries again does
        try:
            found = source.poll(10, 0.0)  # so short that the message comes while the cluster is asked
        except TransientError:
            continue
        break
    assert values(found) == {b"value 5"}
    assert not source._admission.in_doubt
    assert source.poll(10, 0.2) == []
    source.close()


def test_an_outage_does_not_hide_that_the_member_is_refused_for_good() -> None:
    source = KafkaSource(KafkaAddress(bootstrap="127.0.0.1:9"), ["t"], group="g")
    with pytest.raises(TransientError, match="looking for brokers"):
        gather(source, 1)
    source._admission.note(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    source._error = MembershipLostError("refused for good", remedy="start the process again")
    source.keep_alive()
    with pytest.raises(MembershipLostError):
        source.poll(1, 0.0)
    source.close()


def test_topics_that_the_library_does_not_take_are_refused(address: KafkaAddress) -> None:
    source = KafkaSource(address, ["alerts", "alerts"], group="g")
    with pytest.raises(ConfigurationError, match=r"cannot subscribe to alerts, alerts.*each once"):
        source.poll(1, 0.0)
    source.close()


@pytest.mark.parametrize("bootstrap", ["http://kafka:9092", "a:1, kafka://b:2"])
def test_an_address_with_a_scheme_is_refused(bootstrap: str) -> None:
    with pytest.raises(ConfigurationError, match="write host:port"):
        KafkaAddress(bootstrap=bootstrap)
    KafkaAddress(bootstrap="a:1, SASL_SSL://b:2")  # which librdkafka takes


@pytest.mark.parametrize("name", ["acks", "group.id", "enable.auto.commit", "transactional.id"])
def test_no_table_may_loosen_the_guarantee(name: str) -> None:
    address = KafkaAddress(bootstrap="127.0.0.1:9", properties={name: "1"})
    with pytest.raises(ConfigurationError, match=name):
        KafkaSource(address, ["t"], group="g")
    with pytest.raises(ConfigurationError, match=name):
        KafkaSink(address)


def test_secrets_are_in_no_message_and_no_representation(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    properties = {"sasl.password": "hunter2", "sasl.mechanisms": "hunter2", "no.such.property": "hunter2"}
    address = KafkaAddress(bootstrap="127.0.0.1:9", properties=properties)
    with pytest.raises(ConfigurationError) as refusal:
        KafkaSink(address)
    assert "hunter2" not in f"{refusal.value!r} {refusal.value.__cause__!r} {address!r} {caplog.text}"
