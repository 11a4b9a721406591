# SPDX-License-Identifier: BSD-3-Clause
"""Exactly-once delivery: verdicts and offsets in one Kafka transaction.

Every outcome of a transaction but one is certain. If the broker does not say whether a commit took place, the
next attempt first ends that transaction and then asks for the group's offsets: messages behind them are done.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from broker_plugin.errors import ConfigurationError
from broker_plugin.pipeline.dead_letters import can_shrink, shrink
from broker_plugin.pipeline.delivery import Attempt, owned_parcels
from broker_plugin.pipeline.ledger import Ledger
from broker_plugin.pipeline.outbox import Parcel
from broker_plugin.streams.base import OutgoingMessage
from broker_plugin.streams.kafka import KafkaSource, TransactionalKafkaSink, UncertainCommit
from broker_plugin.streams.limits import Oversize, wire_size

__all__ = ["ExactlyOnce"]

ANSWER_S = 10.0
"""Longest wait for the group's offsets: a coordinator that is up answers in milliseconds."""


class ExactlyOnce:
    """Sends and commits in one transaction.

    Parameters
    ----------
    source, sink
        The two ends of the pipeline, on one cluster.
    ledger
        Where to write what was done, if anywhere.
    """

    def __init__(
        self, source: KafkaSource, sink: TransactionalKafkaSink, *, ledger: Ledger | None = None
    ) -> None:
        self._source = source
        self._sink = sink
        self._ledger = ledger
        self._uncertain = False

    def deliver(self, parcels: Sequence[Parcel], attempt: Attempt) -> Sequence[Parcel]:
        """Return the parcels that were delivered."""
        shortened: dict[int, OutgoingMessage] = {}
        delivered: list[Parcel] = []
        while True:
            try:
                attempt("transaction", partial(self._transact, parcels, shortened, delivered))
            except Oversize as refused:
                shortened |= {id(message): shrink(message) for message in _at_fault(refused.messages)}
            else:
                return delivered

    def _transact(
        self, parcels: Sequence[Parcel], shortened: dict[int, OutgoingMessage], delivered: list[Parcel]
    ) -> None:
        before = owned_parcels(self._source, parcels)
        if self._uncertain:
            self._sink.open()
            self._source.settle_committed([parcel.message for parcel in before], timeout_s=ANSWER_S)
            self._uncertain = False
        ours = owned_parcels(self._source, before)
        left = {id(parcel) for parcel in ours}
        delivered += [parcel for parcel in before if id(parcel) not in left]
        messages = [parcel.message for parcel in ours]
        contents = [message for parcel in ours for message in parcel.contents]
        entry = self._ledger.entry(ours) if self._ledger is not None and ours else None
        if ours:
            try:
                self._sink.send_with_offsets(
                    [
                        *(_shortest(message, shortened) for message in contents),
                        *(entry.messages if entry else ()),
                    ],
                    offsets=self._source.offsets_behind(messages),
                    group_metadata=self._source.group_metadata(),
                )
            except UncertainCommit:
                self._uncertain = True
                if self._ledger is not None:
                    self._ledger.forget()
                raise
            except ConfigurationError as error:
                raise self._source.meaning(error) from error
        if self._ledger is not None and entry is not None:
            self._ledger.accept(entry)
        self._source.settle(messages)
        delivered += ours


def _at_fault(refused: Sequence[OutgoingMessage]) -> Sequence[OutgoingMessage]:
    """Return the largest of those that can shrink: refused are whole record batches."""
    long = [message for message in refused if can_shrink(message)]
    largest = max((wire_size(message) for message in long), default=0)
    # Down to half its size, so that a batch of many large ones takes few attempts.
    return [message for message in long if 2 * wire_size(message) >= largest] or refused


def _shortest(message: OutgoingMessage, shortened: dict[int, OutgoingMessage]) -> OutgoingMessage:
    while id(message) in shortened:
        message = shortened[id(message)]
    return message
