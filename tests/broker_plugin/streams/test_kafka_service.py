# SPDX-License-Identifier: BSD-3-Clause
"""What only a real broker shows: transactions, limits, other holders of our name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace

import numpy as np
import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs

from broker_plugin.errors import ConfigurationError, MembershipLostError, TransientError
from broker_plugin.pipeline.delivery import AtLeastOnce, Result
from broker_plugin.pipeline.exactly_once import ExactlyOnce
from broker_plugin.pipeline.outbox import Parcel
from broker_plugin.streams import kafka_client, kafka_transaction
from broker_plugin.streams.base import Message, OutgoingMessage
from broker_plugin.streams.kafka import (
    KafkaAddress,
    KafkaSink,
    KafkaSource,
    TransactionalKafkaSink,
    UncertainCommit,
)
from broker_plugin.streams.limits import Oversize, wire_size
from tests.support.cluster import KafkaCluster
from tests.support.kafka import KafkaBroker
from tests.support.process import LOOPBACK, free_ports, wait_until
from tests.support.refusing import RefusingProxy

pytestmark = pytest.mark.service

PATIENCE_S = 30.0

WORK_S, PAUSES_S = 0.05, 4.0
"""Time that a batch is worked on, and the longest for a dozen, on a machine that others share too."""


@pytest.fixture
def address(kafka_broker: KafkaCluster) -> KafkaAddress:
    return KafkaAddress(bootstrap=kafka_broker.bootstrap)


@pytest.fixture
def quiet() -> Iterator[None]:
    with capture_logs():
        yield


class NeverReturning:
    """A producer of the library, one of whose calls waits for ever, as seen after a broker's restart."""

    def __init__(self, producer: Producer, step: str) -> None:
        self._producer = producer
        self._step = step

    def __getattr__(self, name: str) -> object:
        if name != self._step:
            return getattr(self._producer, name)

        def wait(*_: object) -> None:
            threading.Event().wait()

        wait.__name__ = name
        return wait


def transactional(address: KafkaAddress, name: str) -> TransactionalKafkaSink:
    return TransactionalKafkaSink(address, transactional_id=name, ack_timeout_s=5.0)


def out(topic: str, *values: bytes) -> list[OutgoingMessage]:
    return [OutgoingMessage(topic=topic, value=value) for value in values]


def gather(source: KafkaSource, number: int, *, bears: tuple[type[Exception], ...] = ()) -> list[Message]:
    found: list[Message] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < number:
        assert time.monotonic() < deadline, f"{len(found)} of {number} messages"
        with suppress(*bears):
            found += source.poll(number, 0.2)
    return found


def values(cluster: KafkaCluster, topic: str, **how: str) -> list[bytes]:
    return [record.value or b"" for record in cluster.consume_all(topic, **how)]  # type: ignore[arg-type]


def test_a_message_that_the_topic_takes_by_our_measure_it_takes(
    kafka_broker: KafkaCluster, address: KafkaAddress, topic: Callable[[str], str], rng: np.random.Generator
) -> None:
    limit = 20_000
    name = kafka_broker.create_topic(topic("limited"), max_message_bytes=limit)
    sink = KafkaSink(address)
    headers = tuple((f"name {n}", rng.bytes(n)) for n in range(50))
    message = OutgoingMessage(topic=name, key=b"key", value=b"", headers=headers)
    fitting = OutgoingMessage(
        topic=name, key=b"key", value=rng.bytes(limit - wire_size(message)), headers=headers
    )
    assert wire_size(fitting) == limit
    sink.send([fitting])
    assert len(kafka_broker.consume_all(name)) == 1
    sink.close()


def test_a_backlog_is_read_without_pauses(
    kafka_broker: KafkaCluster, address: KafkaAddress, topic: Callable[[str], str], rng: np.random.Generator
) -> None:
    name = kafka_broker.create_topic(topic("backlog"))
    n_messages, room_kb = 400, 1024  # sixteen times as much as is fetched ahead
    kafka_broker.produce(name, [(None, rng.bytes(40_000), ()) for _ in range(n_messages)])
    properties = {"queued.max.messages.kbytes": room_kb}
    source = KafkaSource(replace(address, properties=properties), [name], group=topic("readers"))
    with closing(source):
        source.connect(deadline_s=PATIENCE_S)
        n_read = len(gather(source, 1))
        begun = time.monotonic()
        while n_read < n_messages:
            n_read += len(source.poll(50, 0.2))
            time.sleep(WORK_S)  # the messages have no more room meanwhile
        # The library's own pause of a second would come half a dozen times.
        assert time.monotonic() - begun < PAUSES_S


@pytest.fixture
def refusing(private_kafka: Callable[..., KafkaBroker]) -> Iterator[tuple[KafkaBroker, RefusingProxy]]:
    """A broker that can be told to refuse what it is sent next."""
    (port,) = free_ports(1)
    with RefusingProxy(port) as proxy:
        broker = private_kafka({"advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}"})
        proxy.begin(int(broker.bootstrap.rpartition(":")[2]))
        yield broker, proxy


@pytest.mark.parametrize("in_flight", ["", "5"])
@pytest.mark.parametrize("kind", ["plain", "transactional"])
def test_what_a_broker_refuses_first_is_not_taken_for_delivered(
    refusing: tuple[KafkaBroker, RefusingProxy], topic: Callable[[str], str], kind: str, in_flight: str
) -> None:
    broker, proxy = refusing
    name = broker.create_topic(topic("new"))
    several = {"max.in.flight": in_flight} if in_flight else {}
    # A request for each message; the second may be under way when the first is refused.
    address = KafkaAddress(bootstrap=broker.bootstrap, properties={"batch.num.messages": "1", **several})
    sink = KafkaSink(address) if kind == "plain" else transactional(address, topic("name"))
    sink.connect([name], deadline_s=PATIENCE_S)
    messages = out(name, *(b"%d" % n for n in range(20)))
    proxy.refuse_next()
    if in_flight:
        with pytest.raises(TransientError, match="acknowledged without an offset"):
            sink.send(messages)
    sink.send(messages)
    assert proxy.refused == 1
    arrived, sent = values(broker, name), [message.value for message in messages]
    if in_flight and kind == "plain":
        assert set(arrived) == set(sent)  # at least once
    else:
        assert arrived == sent
    sink.close()


def test_only_what_is_too_large_itself_is_refused(
    kafka_broker: KafkaCluster, address: KafkaAddress, topic: Callable[[str], str], rng: np.random.Generator
) -> None:
    name = kafka_broker.create_topic(topic("limited"), max_message_bytes=20_000)
    sink = KafkaSink(address)
    small = [rng.bytes(5_000) for _ in range(20)]  # together five times the limit
    large = rng.bytes(30_000)
    huge = rng.bytes(2_000_000)  # refused by the client already
    with pytest.raises(Oversize) as refusal:
        sink.send(out(name, *small, large, huge))
    assert [message.value for message in refusal.value.messages] == [large, huge] or [
        message.value for message in refusal.value.messages
    ] == [huge, large]
    assert sorted(values(kafka_broker, name)) == sorted(small)
    sink.close()


def test_an_unknown_topic_is_a_matter_of_configuration(address: KafkaAddress) -> None:
    source = KafkaSource(address, ["no-such-topic"], group="g")
    with capture_logs() as logs, pytest.raises(ConfigurationError, match="has no topic no-such-topic"):
        source.connect(deadline_s=3.0)
    source.close()
    (said,) = (each for each in logs if each["event"] == "topics_missing")  # at once, and not with each look
    assert said["topics"] == ["no-such-topic"]
    assert "correct its name" in said["remedy"]


@pytest.mark.parametrize("kind", ["plain", "transactional"])
def test_a_sink_makes_no_topic_where_the_cluster_makes_them_on_demand(
    kafka_broker: KafkaCluster, address: KafkaAddress, topic: Callable[[str], str], quiet: None, kind: str
) -> None:
    there, missing, gone = kafka_broker.create_topic(topic("there")), topic("missing"), topic("gone")
    with closing(KafkaSink(address) if kind == "plain" else transactional(address, there)) as sink:
        with pytest.raises(ConfigurationError, match=f"has no topic {missing};"):
            sink.connect([there, missing], deadline_s=2.0)
        with pytest.raises(TransientError):
            sink.send(out(gone, b"value"))
    assert {there, missing, gone} & set(kafka_broker.topics()) == {there}


def test_messages_and_offsets_are_committed_together_or_not_at_all(
    kafka_broker: KafkaCluster, address: KafkaAddress, topic: Callable[[str], str], rng: np.random.Generator
) -> None:
    given, taken = kafka_broker.create_topic(topic("in")), kafka_broker.create_topic(topic("out"))
    limited = kafka_broker.create_topic(topic("limited"), max_message_bytes=20_000)
    kafka_broker.produce(given, [(None, b"%d" % n, []) for n in range(20)])
    source = KafkaSource(address, [given], group=given, protocol="consumer")
    sink = transactional(address, given)
    first, second = gather(source, 10), gather(source, 10)

    def send(batch: Sequence[Message], *extra: OutgoingMessage) -> None:
        sink.send_with_offsets(
            [*out(taken, *(message.value for message in batch)), *extra],
            offsets=source.offsets_behind(batch),
            group_metadata=source.group_metadata(),
        )

    send(first)
    assert kafka_broker.group_committed(given, given) == {0: 10}
    with pytest.raises(Oversize):
        send(second, OutgoingMessage(topic=limited, value=rng.bytes(50_000)))
    assert kafka_broker.group_committed(given, given) == {0: 10}
    assert values(kafka_broker, taken) == [b"%d" % n for n in range(10)]
    for _ in range(5):  # an aborted transaction may cost the next one an attempt
        try:
            send(second)
            break
        except TransientError:
            continue
    assert kafka_broker.group_committed(given, given) == {0: 20}
    assert values(kafka_broker, taken) == [b"%d" % n for n in range(20)]
    source.close()


def test_a_transaction_says_which_message_is_too_large_and_not_what_became_of_the_others(
    kafka_broker: KafkaCluster, address: KafkaAddress, topic: Callable[[str], str], rng: np.random.Generator
) -> None:
    many, limited = kafka_broker.create_topic(topic("many"), 3), topic("limited")
    kafka_broker.create_topic(limited, max_message_bytes=20_000)
    large = OutgoingMessage(topic=limited, value=rng.bytes(50_000))
    others = [OutgoingMessage(topic=many, key=b"%d" % n, value=b"") for n in range(40)]
    for number in range(5):  # the requests of the others may be on either side of the one that is refused
        sink = transactional(address, topic(f"name {number}"))
        with pytest.raises(Oversize) as refusal:
            sink.send([*others, large])
        assert refusal.value.messages == (large,)
        sink.close()
    assert values(kafka_broker, many) == []


def test_a_successor_fences_the_holder_of_its_name(
    kafka_broker: KafkaCluster, address: KafkaAddress, topic: Callable[[str], str], quiet: None
) -> None:
    name = kafka_broker.create_topic(topic("out"))
    old, new = transactional(address, name), transactional(address, name)
    old.send(out(name, b"old"))
    new.send(out(name, b"new"))
    with pytest.raises(ConfigurationError, match="give each its own"):
        old.send(out(name, b"too late"))
    new.send(out(name, b"newer"))
    assert values(kafka_broker, name) == [b"old", b"new", b"newer"]


def test_a_classic_member_of_a_taken_name_ends_its_predecessor(
    kafka_broker: KafkaCluster, address: KafkaAddress, topic: Callable[[str], str], quiet: None
) -> None:
    name = kafka_broker.create_topic(topic("in"))
    kafka_broker.produce(name, [(None, b"1", [])])
    first, second = (KafkaSource(address, [name], group=name, instance="me") for _ in range(2))
    gather(first, 1)
    gather(second, 1)
    with pytest.raises(ConfigurationError, match="--instance"):
        gather(first, 1)
    second.close()
    first.close()


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_member_that_was_silent_for_too_long_loses_its_share_and_is_no_wrong_setting(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], quiet: None, delivery: str
) -> None:
    """The library comes back under the static name, which looks as if another process had taken it."""
    silence = {"max.poll.interval.ms": "6000", "session.timeout.ms": "6000"}
    address = KafkaAddress(bootstrap=kafka_broker.bootstrap, properties=silence)
    name, verdicts = kafka_broker.create_topic(topic("in")), kafka_broker.create_topic(topic("out"))
    kafka_broker.produce(name, [(None, b"1", [])])
    source = KafkaSource(address, [name], group=name, instance="me")
    sink = transactional(replace(address, properties={}), name)
    polled = gather(source, 1)
    sink.open()
    time.sleep(8.0)
    parcels = [Parcel(message=polled[0], contents=tuple(out(verdicts, b"verdict")))]
    deliver = ExactlyOnce(source, sink) if delivery == "exactly-once" else AtLeastOnce(source, sink)

    def at_once(stage: str, step: Callable[[], Result]) -> Result:
        return step()

    with pytest.raises(MembershipLostError, match=r"had not polled for 6 s.*FENCED_INSTANCE_ID"):
        deliver.deliver(parcels, at_once)
    assert kafka_broker.group_committed(name, name) == {}
    source.close()
    sink.close()


def test_a_member_that_is_refused_after_an_outage_may_be_started_again(
    private_kafka: Callable[..., KafkaBroker], topic: Callable[[str], str], quiet: None
) -> None:
    """A broker that was killed may have forgotten who joined last: then the group believes in another."""
    broker = private_kafka()
    name = broker.create_topic(topic("in"))
    broker.produce(name, [(None, b"1", [])])
    address = KafkaAddress(bootstrap=broker.bootstrap)
    first, second = (KafkaSource(address, [name], group=name, instance="me") for _ in range(2))
    gather(first, 1)
    broker.kill()
    with pytest.raises(TransientError):
        gather(first, 1)
    broker.restart()
    gather(second, 1, bears=(TransientError,))
    with pytest.raises(MembershipLostError, match="start the process again"):
        gather(first, 1, bears=(TransientError,))
    second.close()
    first.close()


def test_a_cluster_that_goes_in_a_quiet_hour_is_missed_and_read_on_when_it_is_back(
    private_kafka: Callable[..., KafkaBroker], topic: Callable[[str], str], quiet: None
) -> None:
    broker = private_kafka()
    name = broker.create_topic(topic("in"))
    broker.produce(name, [(None, b"1", [])])
    address = KafkaAddress(bootstrap=broker.bootstrap)
    source = KafkaSource(address, [name], group=name, protocol="consumer")
    source.commit(gather(source, 1))
    assert source.poll(1, 1.0) == []
    broker.kill()
    with pytest.raises(TransientError, match="looking for brokers"):
        gather(source, 1)
    source.keep_alive()  # as while the failure is waited out
    broker.restart()
    broker.produce(name, [(None, b"2", [])])

    found: list[Message] = []

    def came() -> bool:
        with suppress(TransientError):  # until the broker is up
            found.extend(source.poll(1, 1.0))
        return bool(found)

    wait_until(came, what="what came meanwhile", timeout_s=PATIENCE_S)
    assert [message.value for message in found] == [b"2"]
    assert source.poll(1, 1.0) == []  # and no failure is told any more
    source.close()


def test_a_partition_that_went_while_paused_is_read_when_it_comes_back(
    kafka_broker: KafkaCluster, topic: Callable[[str], str], quiet: None
) -> None:
    address = KafkaAddress(bootstrap=kafka_broker.bootstrap, properties={"heartbeat.interval.ms": "200"})
    name = kafka_broker.create_topic(topic("in"), 2)

    def send(value: bytes) -> None:
        for partition in (0, 1):
            kafka_broker.produce(name, [(None, value, [])], partition=partition)

    send(b"1")
    first = KafkaSource(address, [name], group=name)
    first.commit(gather(first, 2))
    first.keep_alive()
    second = KafkaSource(address, [name], group=name)
    send(b"2")
    found: list[Message] = []
    deadline = time.monotonic() + PATIENCE_S
    while not found:
        assert time.monotonic() < deadline
        found += second.poll(1, 0.1)
        first.keep_alive()
    second.commit(found)
    first.commit(gather(first, 1))  # goes on, with the partition that it has kept
    second.close()
    send(b"3")
    assert {message.partition for message in gather(first, 2)} == {0, 1}
    first.close()


def test_what_is_committed_is_no_lag_of_the_member_that_takes_over(
    kafka_broker: KafkaCluster, address: KafkaAddress, topic: Callable[[str], str], quiet: None
) -> None:
    name = kafka_broker.create_topic(topic("in"), 2)
    for partition in (0, 1):
        kafka_broker.produce(name, [(None, b"1", [])] * 5, partition=partition)
    first = KafkaSource(address, [name], group=name)
    first.commit(gather(first, 10))
    first.close()
    second = KafkaSource(address, [name], group=name)
    deadline = time.monotonic() + PATIENCE_S
    while not second.joined():
        assert time.monotonic() < deadline
        assert second.poll(1, 0.1) == []
    for _ in range(10):  # until it has heard where the partitions end
        assert second.poll(1, 0.2) == []
        assert sum(second.lag_by_topic().values()) == 0
    second.keep_alive()
    kafka_broker.produce(name, [(None, b"2", [])] * 3, partition=1)
    wait_until(lambda: sum(second.lag_by_topic().values()) == 3, what="a lag of 3", timeout_s=PATIENCE_S)
    second.close()


def test_the_end_of_a_transaction_is_no_message_ahead(
    kafka_broker: KafkaCluster, address: KafkaAddress, topic: Callable[[str], str], quiet: None
) -> None:
    name = kafka_broker.create_topic(topic("in"))
    transactional(address, name).send(out(name, b"1", b"2"))

    def at_end() -> bool:
        assert source.poll(1, 0.1) == []
        return source.ends_reached() == {(name, 0): 3}

    for number in (2, 0):  # the second has read no message itself
        with closing(KafkaSource(address, [name], group=name)) as source:
            source.commit(gather(source, number))
            wait_until(at_end, what="the end", timeout_s=PATIENCE_S)
            assert sum(source.lag_by_topic().values()) == 0
            source.keep_alive()
            assert sum(source.lag_by_topic().values()) == 0


@pytest.mark.parametrize("step", ["send_offsets_to_transaction", "commit_transaction"])
def test_a_step_that_never_returns_costs_its_producer_and_nothing_else(
    kafka_broker: KafkaCluster,
    address: KafkaAddress,
    topic: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    quiet: None,
    step: str,
) -> None:
    given, taken = kafka_broker.create_topic(topic("in")), kafka_broker.create_topic(topic("out"))
    kafka_broker.produce(given, [(None, b"%d" % n, []) for n in range(10)])
    source = KafkaSource(address, [given], group=given, protocol="consumer")
    sink = transactional(address, given)
    batch = gather(source, 10)
    sink.open()
    monkeypatch.setattr(kafka_transaction, "HUNG_SLACK_S", -2.0)  # three seconds after the step was called
    sink._producer = NeverReturning(sink._producer, step)  # type: ignore[assignment]
    message = out(taken, *(message.value for message in batch))
    offsets, group = source.offsets_behind(batch), source.group_metadata()
    with pytest.raises(TransientError, match=f"{step} did not return"):
        sink.send_with_offsets(message, offsets=offsets, group_metadata=group)
    monkeypatch.undo()
    sink.send_with_offsets(message, offsets=offsets, group_metadata=group)
    assert values(kafka_broker, taken) == [b"%d" % n for n in range(10)]
    assert kafka_broker.group_committed(given, given) == {0: 10}
    source.close()


def test_a_producer_that_was_given_up_and_takes_the_name_late_costs_an_attempt(
    kafka_broker: KafkaCluster, address: KafkaAddress, topic: Callable[[str], str], quiet: None
) -> None:
    name = kafka_broker.create_topic(topic("out"))
    sink, late = transactional(address, name), transactional(address, name)
    sink.open()
    sink._given_up = 1
    late.open()
    with pytest.raises(UncertainCommit, match="given up"):
        sink.send(out(name, b"once"))
    sink.send(out(name, b"once"))
    assert values(kafka_broker, name) == [b"once"]
    another = transactional(address, name)
    another.open()
    with pytest.raises(ConfigurationError, match="give each its own"):
        sink.send(out(name, b"no more"))


@pytest.mark.parametrize("step", ["_fill", "_commit"])
def test_a_process_that_stood_still_beyond_its_transaction_takes_its_name_again(
    kafka_broker: KafkaCluster,
    address: KafkaAddress,
    topic: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    quiet: None,
    step: str,
) -> None:
    monkeypatch.setattr(kafka_transaction, "TRANSACTION_SLACK_S", 0.0)
    monkeypatch.setattr(kafka_client, "REQUEST_MS", 5000)
    name = kafka_broker.create_topic(topic("out"))
    sink = TransactionalKafkaSink(address, transactional_id=name, ack_timeout_s=5.0)
    sink.send(out(name, b"before"))
    whole = getattr(sink, step)

    def stand_still(*arguments: object) -> None:
        sink._producer.produce(name, b"cut off")
        sink._producer.flush()
        wait_until(lambda: not kafka_broker.has_open_transaction(name), what="its end", timeout_s=60.0)
        whole(*arguments)

    monkeypatch.setattr(sink, step, stand_still)
    with pytest.raises(UncertainCommit, match="gave the transaction up"):
        sink.send(out(name, b"again"))
    monkeypatch.undo()
    sink.send(out(name, b"again"))
    assert values(kafka_broker, name) == [b"before", b"again"]


def test_an_unanswered_commit_is_settled_by_the_groups_offsets(
    private_kafka: Callable[..., KafkaBroker], topic: Callable[[str], str], quiet: None
) -> None:
    broker = private_kafka()
    given, taken = broker.create_topic(topic("in")), broker.create_topic(topic("out"))
    broker.produce(given, [(None, b"%d" % n, []) for n in range(20)])
    address = KafkaAddress(bootstrap=broker.bootstrap)
    source = KafkaSource(address, [given], group=given, protocol="consumer")

    class Unanswered(TransactionalKafkaSink):
        """Loses the answer to a commit, once before and once after it took place."""

        def __init__(self) -> None:
            super().__init__(address, transactional_id=given, ack_timeout_s=5.0)
            self.losses = ["before", "after"]

        def _commit(self) -> None:
            loss = self.losses.pop(0) if self.losses else ""
            if loss != "before":
                super()._commit()
            if loss:
                self._reopen()
                raise UncertainCommit(loss)

    sink = Unanswered()
    delivery = ExactlyOnce(source, sink)

    def attempt(stage: str, step: Callable[[], object]) -> object:
        for _ in range(10):
            try:
                return step()
            except TransientError:
                source.keep_alive()
        raise AssertionError(f"{stage} failed ten times")

    for _ in range(2):
        batch = gather(source, 10)
        parcels = [Parcel(message=m, contents=tuple(out(taken, m.value))) for m in batch]
        assert len(delivery.deliver(parcels, attempt)) == 10  # type: ignore[arg-type]
    assert sink.losses == []
    assert values(broker, taken) == [b"%d" % n for n in range(20)]
    assert broker.group_committed(given, given) == {0: 20}
    source.close()
