# SPDX-License-Identifier: BSD-3-Clause
"""Exactly-once delivery: verdicts and offsets in one Kafka transaction.

Every outcome of a transaction but one is certain. If the broker does not say whether a commit took place, the
next attempt first ends that transaction and then asks for the group's offsets: messages behind them are done.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from broker_plugin.pipeline.dead_letters import can_truncate, truncate
from broker_plugin.pipeline.delivery import Attempt, owned_parcels
from broker_plugin.pipeline.outbox import Parcel
from broker_plugin.streams.base import OutgoingMessage
from broker_plugin.streams.kafka import KafkaSource, TransactionalKafkaSink, UncertainCommit
from broker_plugin.streams.limits import Oversize

__all__ = ["ExactlyOnce"]

ANSWER_S = 10.0
"""Longest wait for the group's offsets: a coordinator that is up answers in milliseconds."""


class ExactlyOnce:
    """Sends and commits in one transaction.

    Parameters
    ----------
    source, sink
        The two ends of the pipeline, on one cluster.
    """

    def __init__(self, source: KafkaSource, sink: TransactionalKafkaSink) -> None:
        self._source = source
        self._sink = sink
        self._uncertain = False

    def deliver(self, parcels: Sequence[Parcel], attempt: Attempt) -> Sequence[Parcel]:
        """Return the parcels that were delivered."""
        shortened: dict[int, OutgoingMessage] = {}
        delivered: list[Parcel] = []
        while True:
            try:
                attempt("transaction", partial(self._transact, parcels, shortened, delivered))
            except Oversize as refused:
                # Refused are whole record batches: what is short in them is not at fault.
                long = [message for message in refused.messages if can_truncate(message)]
                shortened |= {id(message): truncate(message) for message in long or refused.messages}
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
        if ours:
            try:
                self._sink.send_with_offsets(
                    [shortened.get(id(message), message) for message in contents],
                    offsets=self._source.offsets_behind(messages),
                    group_metadata=self._source.group_metadata(),
                )
            except UncertainCommit:
                self._uncertain = True
                raise
        self._source.settle(messages)
        delivered += ours
