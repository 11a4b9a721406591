# SPDX-License-Identifier: BSD-3-Clause
"""Verdicts and the offsets of their alerts in one Kafka transaction: readers see both or neither.

The transactional id is stable over restarts. A process that was killed in a transaction is fenced, and its
transaction ended, as soon as its successor starts; otherwise readers of committed records would see nothing
behind it until the transaction times out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from broker_plugin.errors import BrokerPluginError, ConfigurationError, TransientError
from broker_plugin.streams.base import OutgoingMessage
from broker_plugin.streams.bounded_call import CallAbandonedError, call_within
from broker_plugin.streams.kafka_client import KafkaAddress, sort_error
from broker_plugin.streams.kafka_sink import KafkaSink
from broker_plugin.streams.limits import Oversize

__all__ = ["TransactionalKafkaSink", "UncertainCommit"]

log = structlog.get_logger(__name__)

TRANSACTION_SLACK_S = 10.0
"""By how much a transaction outlives the wait for acknowledgements, so that it can still be committed. Both
together are how long readers wait at most for a process that was killed and does not come back."""

HUNG_SLACK_S = TRANSACTION_SLACK_S
"""By how much a step of the library may outlast the time it was given. After that the broker has ended the
transaction by itself, and the producer is given up for a new one under the same transactional id."""

RETRY_S = 0.1
"""Pause before a step that a broker asked to repeat: a coordinator loads its state in tenths of a second."""


class UncertainCommit(TransientError):
    """The broker did not say whether a transaction was committed; the group's offsets will tell."""


class TransactionalKafkaSink(KafkaSink):
    """A sink that sends messages and offsets in one transaction.

    Parameters
    ----------
    address
        The cluster; it must be the one that the offsets belong to.
    transactional_id
        Name of this producer, the same after a restart.
    ack_timeout_s, message_max_bytes
        As for `KafkaSink`.
    """

    _undone = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._STATE})

    def __init__(
        self,
        address: KafkaAddress,
        *,
        transactional_id: str,
        ack_timeout_s: float = 10.0,
        message_max_bytes: int = 1_000_000,
    ) -> None:
        self._life_s = ack_timeout_s + TRANSACTION_SLACK_S
        super().__init__(
            address,
            ack_timeout_s=ack_timeout_s,
            message_max_bytes=message_max_bytes,
            properties={
                "transactional.id": transactional_id,
                "transaction.timeout.ms": int(self._life_s * 1000),
            },
        )
        self._opened = False
        self._begun = 0.0  # when the last transaction did
        self._given_up = 0  # producers whose claim on the name was never answered

    def send_with_offsets(
        self, messages: Sequence[OutgoingMessage], *, offsets: list[TopicPartition], group_metadata: object
    ) -> None:
        """Send messages and commit offsets, both or neither.

        Parameters
        ----------
        messages
            What goes out.
        offsets
            From which to go on, per partition of the source.
        group_metadata
            Of the source's consumer, so that a member that the group has dropped is refused.

        Raises
        ------
        Oversize
            If messages are larger than their topic takes; nothing has arrived.
        UncertainCommit
            If the commit was asked for and not answered, if the broker may have ended the transaction since
            this process stood still for so long, or if a producer of our own may have fenced this one.
        TransientError
            If the transaction was aborted; nothing has arrived.
        """
        self.open()
        try:
            self._transact(messages, offsets, group_metadata)
        except ConfigurationError as error:
            perhaps = self._fenced_by_ourselves()
            if not perhaps:
                raise
            # The offsets of the group tell whether the commit was refused, or had taken place before.
            raise UncertainCommit(f"{error}; {perhaps}") from error

    def _fenced_by_ourselves(self) -> str:
        """Say how a refusal may be our own doing; empty where only another holder of our name explains it."""
        if time.monotonic() - self._begun > self._life_s:
            # A broker that ends a transaction which has outlived its time fences the producer that began it.
            return f"perhaps the broker gave the transaction up: it was open for more than {self._life_s:g} s"
        if self._given_up:
            self._given_up -= 1
            return "perhaps a producer of ours that was given up has taken the name late"
        return ""

    def _transact(
        self, messages: Sequence[OutgoingMessage], offsets: list[TopicPartition], group_metadata: object
    ) -> None:
        self._begun = time.monotonic()
        try:
            self._producer.begin_transaction()
            self._fill(messages, offsets, group_metadata)
        except KafkaException as error:
            self._abort()
            raise sort_error(error.args[0], "filling a transaction") from error
        except CallAbandonedError as error:
            self._reopen()
            raise TransientError(f"filling a transaction: {error}") from error
        except TransientError:
            # A producer that has lost its brokers is not used again: after their return, its next transaction
            # was seen to hang in `send_offsets_to_transaction`. Taking the id anew ends this one.
            if self._opened:
                self._reopen()
            raise
        except BrokerPluginError:
            self._abort()
            raise
        self._commit()

    def send(self, messages: Sequence[OutgoingMessage]) -> None:
        """Send messages in a transaction of their own."""
        self.send_with_offsets(messages, offsets=[], group_metadata=None)

    def open(self) -> None:
        """Take the transactional id, which ends what an earlier holder has left open.

        Raises
        ------
        TransientError
            If the coordinator does not answer in time.
        """
        if self._opened:
            return
        try:
            self._patiently(self._producer.init_transactions)
        except KafkaException as error:
            self._given_up += 1
            self._reopen()
            raise sort_error(error.args[0], "taking the transactional id") from error
        except CallAbandonedError as error:
            self._given_up += 1
            self._reopen()
            raise TransientError(f"taking the transactional id: {error}") from error
        self._opened = True

    def _fill(
        self, messages: Sequence[OutgoingMessage], offsets: list[TopicPartition], group_metadata: object
    ) -> None:
        refused = self._deliver(messages)
        if refused:
            raise Oversize(refused)
        if offsets:
            self._patiently(self._producer.send_offsets_to_transaction, offsets, group_metadata)

    def _commit(self) -> None:
        try:
            self._patiently(self._producer.commit_transaction)
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.txn_requires_abort():
                self._abort()
                raise sort_error(reason, "committing a transaction") from error
            self._reopen()
            stop = sort_error(reason, "committing a transaction")
            if isinstance(stop, TransientError):
                raise UncertainCommit(str(stop)) from error
            raise stop from error
        except CallAbandonedError as error:
            self._reopen()
            raise UncertainCommit(f"committing a transaction: {error}") from error

    def _abort(self) -> None:
        if not self._opened:
            return
        try:
            self._patiently(self._producer.abort_transaction)
        except (KafkaException, CallAbandonedError) as error:
            log.warning("abort_failed", detail=str(error.args[0]))
            self._reopen()  # taking the id again ends the transaction

    def _reopen(self) -> None:
        super()._reopen()
        self._opened = False

    def _patiently(self, step: Callable[..., None], *arguments: object) -> None:
        """Take a step of a transaction, again and again while the library says that this may help."""
        deadline = time.monotonic() + self._ack_timeout_s
        while True:
            left_s = max(RETRY_S, deadline - time.monotonic())
            try:
                return call_within(
                    partial(step, *arguments, left_s), timeout_s=left_s + HUNG_SLACK_S, name=step.__name__
                )
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() > deadline:
                    self._admission.check(self._producer)
                    raise
                time.sleep(RETRY_S)
