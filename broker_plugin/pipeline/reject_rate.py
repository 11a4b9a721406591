# SPDX-License-Identifier: BSD-3-Clause
"""When a reason of rejection becomes frequent, it is no longer the alerts' fault, and the stream pauses.

Counted are the last messages that this process has done with, those not seen yet as good ones: a process
that has just started pauses after as many rejections as in mid-stream, not after the first. A batch is
checked before it is sent and counted once it is committed: what comes again is not counted twice.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from itertools import chain, islice

from broker_plugin.errors import PauseReason, RejectedAlert, RejectReason, StreamPausedError
from broker_plugin.pipeline.filter import Judgement
from broker_plugin.streams.base import Message

__all__ = ["RejectRate"]


class RejectRate:
    """Counts why messages were rejected.

    Parameters
    ----------
    share
        Largest share of the window that one reason may have; 1 never pauses.
    window
        How many messages are looked back upon.
    accepted
        Reasons that the operator has accepted, at any rate.

    Examples
    --------
    >>> empty = RejectedAlert(RejectReason.EMPTY, "the message has no bytes")
    >>> message = Message(topic="alerts", partition=3, offset=1234, value=b"")
    >>> judged = Judgement(message=message, rejection=empty)
    >>> rate = RejectRate(share=0.01, window=100)
    >>> rate.check([judged])
    >>> rate.note([judged])
    >>> rate.check([judged])
    Traceback (most recent call last):
    broker_plugin.errors.StreamPausedError: 2 of the last 100 messages were rejected as empty, ...
    """

    def __init__(
        self,
        *,
        share: float = 0.01,
        window: int = 10_000,
        accepted: Iterable[RejectReason] = (),
    ) -> None:
        self._allowed = share * window
        self._window = window
        self._accepted = frozenset(accepted)
        self._last: deque[RejectReason | None] = deque()
        self._counts: Counter[RejectReason] = Counter()

    def check(self, judgements: Sequence[Judgement]) -> None:
        """Look whether the next messages may be done with.

        Raises
        ------
        StreamPausedError
            If a reason of rejection would become too frequent. The messages should then be neither sent nor
            committed.
        """
        counts = self._counts.copy()
        first: dict[RejectReason, tuple[Message, RejectedAlert]] = {}
        room = self._window - len(self._last)
        leaving = islice(chain(self._last, map(_reason, judgements)), max(0, len(judgements) - room))
        for number, judgement in enumerate(judgements):
            gone = next(leaving) if number >= room else None
            if gone is not None:
                counts[gone] -= 1
            rejection = judgement.rejection
            if rejection is None:
                continue
            reason = rejection.reason
            first.setdefault(reason, (judgement.message, rejection))
            counts[reason] += 1
            if counts[reason] > self._allowed and reason not in self._accepted:
                raise self._pause(counts[reason], *first[reason])

    def note(self, judgements: Iterable[Judgement]) -> None:
        """Count messages that are done."""
        for reason in map(_reason, judgements):
            self._last.append(reason)
            if reason is not None:
                self._counts[reason] += 1
            if len(self._last) > self._window:
                gone = self._last.popleft()
                if gone is not None:
                    self._counts[gone] -= 1

    def _pause(self, count: int, first: Message, rejection: RejectedAlert) -> StreamPausedError:
        reason = rejection.reason
        return StreamPausedError(
            PauseReason.REJECTS,
            f"{count} of the last {self._window} messages were rejected as {reason}, more "
            f"than the {self._allowed / self._window:.3g} that is allowed; nothing of this batch was sent or "
            f"committed. The first of it is {first.topic} [{first.partition}] at offset {first.offset}: "
            f"{rejection.detail}. `broker-plugin dlq list` shows those of the batches before. Mend the cause "
            f"and restart, or restart with --accept-rejects {reason} to dead-letter them all",
        )


def _reason(judgement: Judgement) -> RejectReason | None:
    return None if judgement.rejection is None else judgement.rejection.reason
