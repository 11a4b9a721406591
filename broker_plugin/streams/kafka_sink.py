# SPDX-License-Identifier: BSD-3-Clause
"""A Kafka cluster as a sink: `send` returns when all in-sync replicas have every message."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from broker_plugin.errors import ConfigurationError, TransientError
from broker_plugin.streams.base import OutgoingMessage
from broker_plugin.streams.kafka_admission import Admission
from broker_plugin.streams.kafka_client import (
    KafkaAddress,
    cluster_id,
    make_client,
    sort_error,
    wait_for_topics,
)
from broker_plugin.streams.kafka_rights import require_rights
from broker_plugin.streams.limits import Oversize

__all__ = ["KafkaSink"]

log = structlog.get_logger(__name__)

SLACK_S = 5.0
"""The library reports a message that timed out up to a second late; beyond this it has forgotten one."""

FULL_QUEUE_POLL_S = 0.05
"""Wait for room in the library's queue: about the time in which a broker acknowledges a batch."""

IN_FLIGHT = 1
"""Requests under way to one broker. Of several, the first for a partition may be refused for a passing reason
(the broker does not know yet that it leads it) while the next arrives, for a broker takes any first number of
a producer's sequence (KAFKA-15591). The library then holds the first for delivered and never sends it again:
seen with librdkafka 2.16 and Kafka 4.1, in one of two hundred sends to topics that had just been made."""

INFERRED = "acknowledged without an offset, perhaps lost"
"""Said of a message of which the library infers that it arrived."""

WIRE_ROOM_BYTES = 4096
"""The library counts a few bytes more than `limits.wire_size` does; its limit must not be the lower one."""


class KafkaSink:
    """Produces with an idempotent producer, so that the library's own retries neither repeat nor reorder.

    Only what the cluster has given an offset counts as acknowledged.

    Parameters
    ----------
    address
        The cluster.
    ack_timeout_s
        Longest wait for acknowledgements.
    message_max_bytes
        Larger messages are refused before they are sent.
    properties
        Further properties of the producer.
    before_wait
        Is called before each wait for acknowledgements: a `send` of which a part is refused has many, since
        what was refused is sent again one by one.
    """

    _undone: ClassVar[frozenset[int]] = frozenset()
    """Errors of other messages that follow from the refusal of one."""

    def __init__(
        self,
        address: KafkaAddress,
        *,
        ack_timeout_s: float = 10.0,
        message_max_bytes: int = 1_000_000,
        properties: Mapping[str, Any] = MappingProxyType({}),
        before_wait: Callable[[], None] = lambda: None,
    ) -> None:
        self._address = address
        self._ack_timeout_s = ack_timeout_s
        self._before_wait = before_wait
        self._properties: dict[str, Any] = {
            "acks": "all",
            # A producer that asks about a topic has the cluster make it, by default: a mistyped one too.
            "allow.auto.create.topics": False,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "max.in.flight": IN_FLIGHT,
            "message.timeout.ms": int(ack_timeout_s * 1000),
            "message.max.bytes": message_max_bytes + WIRE_ROOM_BYTES,
            **properties,
        }
        self._admission = Admission(address)
        self._producer = self._make_producer()

    def connect(
        self, topics: Sequence[str], *, deadline_s: float, stop: threading.Event | None = None
    ) -> None:
        """Wait until the cluster answers and has the topics; none is made.

        Raises
        ------
        TransientError, ConfigurationError
            If it does not answer in time, or does not have them or does not let us in.
        TokenError
            If we are not let in in time, and that may pass.
        """
        wait_for_topics(
            self._producer,
            topics,
            bootstrap=self._address.bootstrap,
            deadline_s=deadline_s,
            stop=stop,
            admission=self._admission,
        )
        if stop is None or not stop.is_set():
            require_rights(self._address, write=topics)

    def cluster_id(self) -> str:
        """Return the id of the cluster."""
        return cluster_id(self._producer)

    def send(self, messages: Sequence[OutgoingMessage]) -> None:
        """Produce messages and wait until all of them are acknowledged.

        Raises
        ------
        Oversize
            If messages are larger than their topic takes; the others have arrived.
        TransientError
            If not all were acknowledged in time; some may have arrived.
        ConfigurationError
            If a topic refuses us, or the cluster has for long.
        TokenError
            If it has, and that may pass.
        """
        refused = self._deliver(messages)
        if len(messages) > 1:
            # A broker refuses a batch as a whole: only alone does a message show that it is too large itself.
            refused = [message for suspect in refused for message in self._deliver([suspect])]
        if refused:
            raise Oversize(refused)

    def close(self) -> None:
        """Wait for what is under way and release the producer."""
        self._producer.flush(self._ack_timeout_s)

    def _deliver(self, messages: Sequence[OutgoingMessage]) -> list[OutgoingMessage]:
        """Produce and flush; return what was refused for its size, raise for any other failure."""
        self._before_wait()
        try:
            failures = self._produce(messages)
        except TransientError:
            self._admission.check(self._producer)
            raise
        refused = [message for message, error in failures if error.code() == KafkaError.MSG_SIZE_TOO_LARGE]
        due_to_size = {KafkaError.MSG_SIZE_TOO_LARGE, *self._undone} if refused else frozenset[int]()
        for message, error in failures:
            if error.code() in due_to_size:
                continue
            reason = sort_error(error, f"producing to {message.topic}")
            if isinstance(reason, TransientError):
                self._admission.check(self._producer)
            if isinstance(reason, TransientError) and (error.fatal() or error.code() == KafkaError._FATAL):
                self._reopen()  # this producer will never send again, another will
            raise reason
        self._admission.granted()
        return refused

    def _produce(self, messages: Sequence[OutgoingMessage]) -> list[tuple[OutgoingMessage, KafkaError]]:
        """Produce and flush; return what failed."""
        failures: list[tuple[OutgoingMessage, KafkaError]] = []
        awaited: set[int] = set()

        def report(index: int, error: KafkaError | None, sent: KafkaMessage) -> None:
            awaited.discard(index)
            if error is None and sent.offset() is None:
                error = KafkaError(KafkaError._STATE, INFERRED)
            if error is not None:
                failures.append((messages[index], error))

        deadline = time.monotonic() + self._ack_timeout_s
        for index, message in enumerate(messages):
            awaited.add(index)
            error = self._enqueue(message, partial(report, index), deadline)
            if error is not None:
                awaited.discard(index)
                failures.append((message, error))
        self._serve(self._producer.flush, self._ack_timeout_s + SLACK_S)
        if awaited:
            raise TransientError(
                f"{len(awaited)} messages were not acknowledged in {self._ack_timeout_s:g} s"
            )
        return failures

    def _enqueue(self, message: OutgoingMessage, report: Any, deadline: float) -> KafkaError | None:
        while True:
            try:
                self._producer.produce(
                    message.topic,
                    value=message.value,
                    key=message.key,
                    headers=list(message.headers),
                    on_delivery=report,
                )
            except BufferError:
                if time.monotonic() > deadline:
                    raise TransientError(
                        "the queue of messages to be sent stayed full; are the output's brokers down?"
                    ) from None
                self._serve(self._producer.poll, FULL_QUEUE_POLL_S)
            except KafkaException as error:
                return _kafka_error(error)
            else:
                return None

    def _serve(self, wait: Callable[[float], int], timeout_s: float) -> None:
        """Wait while callbacks are called, which is where the library tells of a producer's end."""
        try:
            wait(timeout_s)
        except (KafkaException, SystemError) as error:
            # The library raises while it calls back; then the first step of the next callback fails.
            cause = error.__cause__ if isinstance(error, SystemError) else error
            if not isinstance(cause, KafkaException):
                raise
            reason = sort_error(_kafka_error(cause), "producing")
            if isinstance(reason, TransientError):
                self._reopen()
            raise reason from None

    def _reopen(self) -> None:
        log.warning("producer_reopened", bootstrap=self._address.bootstrap)
        self._producer.purge()
        self._producer = self._make_producer()

    def _make_producer(self) -> Producer:
        return make_client(Producer, self._address, self._properties, admission=self._admission)


def _kafka_error(error: KafkaException) -> KafkaError:
    found = error.args[0]
    if not isinstance(found, KafkaError):
        raise ConfigurationError(f"the producer refused a message: {found}") from error
    return found
