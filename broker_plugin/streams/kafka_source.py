# SPDX-License-Identifier: BSD-3-Clause
"""A consumer group's member as a source: what is polled is ours until its partition is taken away.

A rebalance may take partitions away while a batch is being scored. The source remembers which of the messages
it gave out are still ours; only of those are offsets ever committed, so a late commit cannot move another
member's partition.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from broker_plugin.errors import (
    BrokerPluginError,
    ConfigurationError,
    MembershipLostError,
    TokenError,
    TransientError,
)
from broker_plugin.streams.base import Message
from broker_plugin.streams.bounded_call import CallAbandonedError, call_within
from broker_plugin.streams.kafka_admission import Admission
from broker_plugin.streams.kafka_attendance import Attendance
from broker_plugin.streams.kafka_client import (
    KafkaAddress,
    cluster_id,
    make_client,
    sort_error,
    wait_for_topics,
)
from broker_plugin.streams.kafka_commit import CommitAnswer
from broker_plugin.streams.kafka_lag import ends_reached, messages_ahead
from broker_plugin.streams.kafka_member import member_properties
from broker_plugin.streams.kafka_message import message_of, names, offsets_of, places_of
from broker_plugin.streams.kafka_rights import require_rights
from broker_plugin.streams.kafka_start import StartPolicy, begin_group, offset_after_loss, places_of_topics
from broker_plugin.streams.look_ahead import LookAhead
from broker_plugin.streams.ownership import Ownership, Place, next_offsets
from broker_plugin.streams.topic_pattern import is_pattern, portable

__all__ = ["KafkaSource"]

log = structlog.get_logger(__name__)

OUTAGE_S = 300.0
"""Time after an outage in which the group may refuse a member that it had taken in: a broker that was killed
does not remember who joined in its last moments. At other times somebody else holds our name."""

DOUBT_LOOK_S = 0.5
"""Wait for the answer of a cluster that was away or has refused us. It holds the loop, which has nothing else
to do."""

WAIT_S = 0.19
"""Longest wait in one call of the library. It waits in steps of 0.2 s, and where a callback raises in one of
them, the message that comes in the next is dropped (confluent-kafka 2.16)."""

CLOSE_S = 5.0
"""Longest wait for the farewell to the group. With its coordinator away it would take the session's time."""


class KafkaSource:
    """Messages of one or more topics, read as a member of a consumer group; offsets are committed by hand.

    Parameters
    ----------
    address
        The cluster.
    topics
        Topics, or patterns of topics that begin with `^`.
    group
        The consumer group.
    instance
        Stable name of this member, for the classic protocol: one that was killed and comes back under it goes
        on at once. A KIP-848 broker refuses the name of a killed member until its session has run out, so
        there the member has none.
    protocol
        `classic`, or `consumer` (KIP-848).
    start
        Where to begin where the group has no offset, or one that is no longer in the log.
    batch_max_bytes
        `poll` returns when it has gathered this much.
    """

    def __init__(
        self,
        address: KafkaAddress,
        topics: Sequence[str],
        *,
        group: str,
        instance: str | None = None,
        protocol: Literal["classic", "consumer"] = "classic",
        start: StartPolicy | None = None,
        batch_max_bytes: int = 64_000_000,
    ) -> None:
        self._answer = CommitAnswer()
        properties = {
            **member_properties(group, instance=instance, protocol=protocol),
            "on_commit": self._answer.note,
        }
        self._address = address
        self._topics = [portable(topic) if is_pattern(topic) else topic for topic in topics]
        self._by_pattern = any(map(is_pattern, topics))
        self._group = group
        self._start = StartPolicy() if start is None else start
        self._batch_max_bytes = batch_max_bytes
        self._admission = Admission(address)
        self._consumer = make_client(Consumer, address, properties, admission=self._admission)
        self._ownership = Ownership()
        self._ahead = LookAhead(bytes_max=batch_max_bytes)
        self._astray: dict[Place, TopicPartition] = {}
        self._error: BrokerPluginError | None = None
        self._attendance = Attendance(address.resolved())
        self._paused = False
        self._joined = False
        self._subscribed = False

    def connect(self, *, deadline_s: float, stop: threading.Event | None = None) -> None:
        """Wait until the cluster answers and has the topics, and give a new group its first offsets.

        Raises
        ------
        TransientError, ConfigurationError
            If it does not answer in time, does not have them, does not let us in or must not begin.
        TokenError
            If we are not let in in time, and that may pass.
        """
        wait_for_topics(
            self._consumer,
            self._topics,
            bootstrap=self._address.bootstrap,
            deadline_s=deadline_s,
            stop=stop,
            admission=self._admission,
        )
        if stop is None or not stop.is_set():
            require_rights(self._address, read=self._topics, group=self._group)
        begin_group(
            self._address, self._topics, self._start, group=self._group, deadline_s=deadline_s, stop=stop
        )

    def cluster_id(self) -> str:
        """Return the id of the cluster."""
        return cluster_id(self._consumer)

    def n_partitions(self) -> int:
        """Return how many partitions the topics have together: so many members can share the work."""
        try:
            return len(places_of_topics(self._consumer, self._topics))
        except KafkaException as error:
            raise sort_error(error.args[0], "counting partitions") from error

    def poll(self, batch_max: int, timeout_s: float) -> Sequence[Message]:
        """Return up to `batch_max` messages, waiting at most `timeout_s` for the first.

        Raises
        ------
        TransientError
            If there are none, and the cluster is away or does not let us in for now.
        ConfigurationError, TokenError
            If it does not let us in for good, or where to go on is to be decided.
        MembershipLostError
            If the group refuses this member, which may be started again.
        """
        self._subscribe()
        self._raise_error()
        self._find_places()
        messages = self._gathered(batch_max, timeout_s)
        if not messages:
            self._raise_error()
            doubt = self._doubt()
            if doubt is not None:
                # Who is told to try again pauses us, which drops what is under way: first what came by now.
                messages = self._gathered(batch_max, 0.0)
                if not messages:
                    self._raise_error()
                    raise doubt
        return self._ownership.of(messages)

    def owned(self, messages: Sequence[Message]) -> list[Message]:
        """Return those messages whose partitions were not taken away since they were polled."""
        return self._ownership.of(messages)

    def commit(self, messages: Sequence[Message]) -> None:
        """Commit the offsets behind those messages that are still ours, and wait for the answer.

        Raises
        ------
        TransientError
            If the group's coordinator did not take them.
        """
        owned = self.owned(messages)
        wanted = self.offsets_behind(owned)
        if wanted:
            # Not the library's synchronous commit: that waits out the session, deaf to signals.
            self._answer.forget()
            try:
                self._consumer.commit(offsets=wanted, asynchronous=True)
            except KafkaException as error:
                raise sort_error(error.args[0], "committing offsets") from error
            try:
                self._answer.wait(offsets_of(wanted), look=self._look)
            except ConfigurationError as error:
                raise self.meaning(error) from error
        self.settle(owned)

    def settle(self, messages: Iterable[Message]) -> None:
        """Forget messages that are done."""
        self._ownership.settle(messages)

    def offsets_behind(self, messages: Iterable[Message]) -> list[TopicPartition]:
        """Return, for each partition of these messages, the offset from which to go on."""
        behind = next_offsets(messages)
        return [TopicPartition(topic, partition, offset) for (topic, partition), offset in behind.items()]

    def settle_committed(self, messages: Sequence[Message], *, timeout_s: float) -> None:
        """Forget those messages whose offsets the group has committed, by asking the coordinator.

        Raises
        ------
        TransientError
            If it does not answer.
        """
        places = self.offsets_behind(self.owned(messages))
        try:
            committed = self._consumer.committed(places, timeout=timeout_s) if places else []
        except KafkaException as error:
            raise sort_error(error.args[0], "reading committed offsets") from error
        reached = offsets_of(committed)
        self.settle(m for m in messages if m.offset < reached.get((m.topic, m.partition), -1))

    def group_metadata(self) -> object:
        """Return what a transaction needs to commit this member's offsets."""
        return self._consumer.consumer_group_metadata()

    def meaning(self, refusal: ConfigurationError) -> BrokerPluginError:
        """Return what a refusal by the group means: what it says, unless we have been silent for too long."""
        self._look()
        return self._attendance.meaning(refusal)

    def stay(self) -> None:
        """Answer the group while a batch is judged; what comes along is kept for the next poll."""
        if self._subscribed:
            self._look()

    def keep_alive(self) -> None:
        """Stay in the group without taking messages, while a batch is being retried.

        Raises
        ------
        ConfigurationError, TokenError
            If the cluster or the group refuses us for good.
        """
        self._pause()
        self._look()
        # Whether a cluster that was away is back shows by its messages, too, and of those none comes here.
        doubt = self._doubt() if self._admission.refused else None
        for error in (self._error, doubt):
            if isinstance(error, (ConfigurationError, TokenError)):
                raise error  # whatever is being tried again, it will not help

    def joined(self) -> bool:
        """Tell whether the group has given this member its partitions (perhaps none)."""
        return self._joined

    def lag_by_topic(self) -> Mapping[str, int]:
        """Return how many messages lie ahead of each topic, as far as the brokers' last answers say."""
        taken = Counter(message.topic for message in self._ahead if message in self._ownership)
        return taken + messages_ahead(self._consumer, fetching=not self._paused)

    def ends_reached(self) -> Mapping[Place, int]:
        """Return the partitions read to their end, and where that is: markers of transactions count."""
        return ends_reached(self._consumer)

    @property
    def exhausted(self) -> bool:
        """Never: a stream goes on."""
        return False

    def close(self) -> None:
        """Leave without committing anything more."""
        try:
            call_within(self._consumer.close, timeout_s=CLOSE_S, name="leaving the group")
        except CallAbandonedError:
            log.warning("left_without_farewell", bootstrap=self._address.bootstrap)

    def _subscribe(self) -> None:
        # At the first poll: before, a member that is still warming up would hold partitions idle.
        if self._subscribed:
            return
        try:
            self._consumer.subscribe(
                self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        except KafkaException as error:
            raise ConfigurationError(
                f"cannot subscribe to {', '.join(self._topics)}: {error.args[0].str()}",
                remedy="name topics, each once, or one pattern",
            ) from error
        self._subscribed = True

    def _gathered(self, batch_max: int, timeout_s: float) -> list[Message]:
        messages: list[Message] = []
        size = 0
        while len(messages) < batch_max and size < self._batch_max_bytes:
            message = self._next(0.0 if messages else timeout_s)
            if message is None:
                break
            messages.append(message)
            size += len(message.value)
        return messages

    def _raise_error(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _look(self) -> None:
        """Let the library call back; a message that comes along is kept for the next poll."""
        message = self._next_of_consumer(0.0)
        if message is not None:
            self._ahead.add(message)
        if self._ahead.full:
            self._pause()

    def _pause(self) -> None:
        if not self._paused:
            self._consumer.pause(self._consumer.assignment())
            self._paused = True

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._consumer.resume(self._consumer.assignment())

    def _next(self, timeout_s: float) -> Message | None:
        while (message := self._ahead.take()) is not None:
            if message in self._ownership:
                return message
        self._resume()
        return self._next_of_consumer(timeout_s)

    def _next_of_consumer(self, timeout_s: float) -> Message | None:
        try:
            received = self._polled(timeout_s)
        except KafkaException as error:
            self._error = self._sorted(error.args[0])
            return None
        if received is None:
            return None
        defect = received.error()
        if defect is not None:
            if defect.code() == KafkaError._AUTO_OFFSET_RESET:
                place = TopicPartition(str(received.topic()), int(received.partition() or 0))
                self._astray[place.topic, place.partition] = place
            elif defect.code() == KafkaError._MAX_POLL_EXCEEDED:
                self._attendance.expelled()
                self._error = self._sorted(defect)
            elif defect.code() != KafkaError.UNKNOWN_TOPIC_OR_PART or not self._by_pattern:
                self._error = self._sorted(defect)
            return None
        self._admission.granted()
        message = message_of(received)
        self._ownership.note(message)
        return message

    def _polled(self, timeout_s: float) -> KafkaMessage | None:
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            self._attendance.polled()
            received = self._consumer.poll(min(left_s, WAIT_S))
            if received is not None or left_s <= WAIT_S:
                return received

    def _find_places(self) -> None:
        """Go on in partitions of which the log does not have our offset."""
        for key, place in list(self._astray.items()):
            at = offset_after_loss(self._consumer, self._consumer.position([place])[0], self._start)
            self._consumer.incremental_unassign([place])
            self._consumer.incremental_assign([TopicPartition(place.topic, place.partition, at)])
            if not self._paused:
                self._consumer.resume([place])  # as in `_on_assign`
            del self._astray[key]

    def _doubt(self) -> BrokerPluginError | None:
        """Return what is wrong with a cluster that was away or has refused us, where it still is or does.

        With the classic protocol the library tells in time that a member's session has run out. With the new
        one it says nothing more, and a cluster that is away looks like one that has no messages.
        """
        if not self._admission.in_doubt:
            return None
        # One topic: the answer on all of a large cluster takes longer than the wait.
        named = next((topic for topic in self._topics if not is_pattern(topic)), None)
        try:
            self._consumer.list_topics(named, timeout=DOUBT_LOOK_S)
        except KafkaException as error:
            return self._meaning_of_silence(error.args[0])
        self._admission.granted()
        return None

    def _meaning_of_silence(self, silence: KafkaError) -> BrokerPluginError:
        if not self._admission.refused:
            return sort_error(silence, f"looking for brokers at {self._address.bootstrap}")
        try:
            self._admission.check(self._consumer)
        except BrokerPluginError as error:
            return error
        return TransientError(str(self._admission.error()))

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        if self._paused:
            consumer.pause(partitions)
        else:
            consumer.resume(partitions)  # one that was taken away while paused would come back paused
        self._joined = True
        log.info("partitions_assigned", partitions=names(partitions))

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        dropped = self._drop(partitions)
        log.info("partitions_revoked", partitions=names(partitions), dropped_messages=dropped)

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        dropped = self._drop(partitions)
        self._joined = False  # the group has dropped us, and we come back as a new member
        log.warning("partitions_lost", partitions=names(partitions), dropped_messages=dropped)

    def _drop(self, partitions: list[TopicPartition]) -> int:
        places = places_of(partitions)
        for place in places:
            self._astray.pop(place, None)
        return self._ownership.forget(places)

    def _sorted(self, error: KafkaError) -> BrokerPluginError:
        if not error.fatal() and error.code() != KafkaError._FATAL:
            return sort_error(error, "polling")
        # The library keeps the cause to its text. Of the few there are, a name held twice is the likely one.
        refusal = f"the group refuses this member for good: {error.str()}"
        if self._admission.were_away(within_s=OUTAGE_S):
            return MembershipLostError(refusal, remedy="start the process again")
        return self._attendance.meaning(
            ConfigurationError(refusal, remedy="give each process of the group its own --instance")
        )
