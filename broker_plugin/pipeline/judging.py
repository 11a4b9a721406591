# SPDX-License-Identifier: BSD-3-Clause
"""Batches judged in a thread of their own, one at a time and in order, while the loop talks to Kafka.

Only what touches no stream is done there: decoding, scoring, and putting the outgoing messages together. A
batch that is given up, because its partition is gone or the process ends, was then judged for nothing, and
nobody sees it: what was judged counts when it is delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from broker_plugin.pipeline.filter import AlertFilter, Judgement
from broker_plugin.pipeline.outbox import Outbox, Parcel
from broker_plugin.pipeline.stages import StageTimes
from broker_plugin.streams.base import Message

__all__ = ["Judged", "Judging", "UnderWay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A batch that is ready to be delivered."""

    judgements: Sequence[Judgement]
    parcels: Sequence[Parcel]
    received_at: datetime
    times: StageTimes


class UnderWay:
    """A batch that is being judged."""

    def __init__(self, begin: Callable[[], Future[Judged]]) -> None:
        self._begin = begin
        self._future: Future[Judged] | None = begin()

    def result(self) -> Judged:
        """Wait for it, and return it or raise what it failed with; called again, it is judged again."""
        future, self._future = self._future or self._begin(), None
        return future.result()


class Judging:
    """The thread that judges.

    Parameters
    ----------
    alert_filter, outbox
        What is done to a batch.
    between_batches
        Is called in the thread before each batch, when no other is being judged.
    """

    def __init__(
        self, alert_filter: AlertFilter, outbox: Outbox, *, between_batches: Callable[[], None]
    ) -> None:
        self._filter = alert_filter
        self._outbox = outbox
        self._between_batches = between_batches
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="judge")

    def begin(self, messages: Sequence[Message], *, received_at: datetime) -> UnderWay:
        """Begin with a batch, or have it wait for the one that is being judged."""
        times = StageTimes()
        return UnderWay(lambda: self._thread.submit(self._judge, messages, received_at, times))

    def close(self) -> None:
        """Let the batch that is being judged end, and the thread with it."""
        self._thread.shutdown(cancel_futures=True)

    def _judge(self, messages: Sequence[Message], received_at: datetime, times: StageTimes) -> Judged:
        self._between_batches()
        judgements = self._filter.judge(messages, received_at=received_at, times=times)
        with times.of("encode"):
            parcels = self._outbox.pack(judgements)
        return Judged(judgements=judgements, parcels=parcels, received_at=received_at, times=times)
