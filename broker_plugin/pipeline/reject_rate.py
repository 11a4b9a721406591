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

from broker_plugin.errors import PauseReason, RejectReason, StreamPausedError

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
    >>> rate = RejectRate(share=0.01, window=100)
    >>> rate.check([None, RejectReason.EMPTY])
    >>> rate.note([None, RejectReason.EMPTY])
    >>> rate.check([RejectReason.EMPTY])
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

    def check(self, reasons: Sequence[RejectReason | None]) -> None:
        """Look whether the next messages may be done with, by why they were rejected; None for the others.

        Raises
        ------
        StreamPausedError
            If a reason would become too frequent. The messages should then be neither sent nor committed.
        """
        counts = self._counts.copy()
        room = self._window - len(self._last)
        leaving = islice(chain(self._last, reasons), max(0, len(reasons) - room))
        for number, reason in enumerate(reasons):
            gone = next(leaving) if number >= room else None
            if gone is not None:
                counts[gone] -= 1
            if reason is None:
                continue
            counts[reason] += 1
            if counts[reason] > self._allowed and reason not in self._accepted:
                raise self._pause(reason, counts[reason])

    def note(self, reasons: Iterable[RejectReason | None]) -> None:
        """Count messages that are done."""
        for reason in reasons:
            self._last.append(reason)
            if reason is not None:
                self._counts[reason] += 1
            if len(self._last) > self._window:
                gone = self._last.popleft()
                if gone is not None:
                    self._counts[gone] -= 1

    def _pause(self, reason: RejectReason, count: int) -> StreamPausedError:
        return StreamPausedError(
            PauseReason.REJECTS,
            f"{count} of the last {self._window} messages were rejected as {reason}, more "
            f"than the {self._allowed / self._window:.3g} that is allowed; nothing of this batch was sent or "
            "committed. `broker-plugin dlq list` shows those before it. Mend the cause and restart, or "
            f"restart with --accept-rejects {reason} to dead-letter them all",
        )
