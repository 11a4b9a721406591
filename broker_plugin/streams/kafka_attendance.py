# SPDX-License-Identifier: BSD-3-Clause
"""Whether a member has been silent for so long that the library left the group for it.

With a static name it comes back as a new member under that name, and whatever the old one still asks for is
refused as if another process had taken the name. Only who knows that it was silent can tell the two apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from broker_plugin.errors import BrokerPluginError, ConfigurationError, MembershipLostError
from broker_plugin.streams.kafka_member import MAX_POLL_INTERVAL, SILENCE_MS

__all__ = ["Attendance"]

EXPELLED_S = 300.0
"""Time after such a silence in which a refusal is put down to it: the member joins again within seconds, but
a broker that is away, or a batch that is tried again, may make it later."""


class Attendance:
    """Notes when a member polls.

    Parameters
    ----------
    properties
        The operator's, of which one is the longest silence.
    clock
        Seconds that never go back.

    Examples
    --------
    >>> now = iter([0.0, 10.0, 11.0, 12.0])
    >>> attendance = Attendance({"max.poll.interval.ms": "5000"}, clock=lambda: next(now))
    >>> attendance.polled()
    >>> attendance.polled()
    >>> type(attendance.meaning(ConfigurationError("another process has this name"))).__name__
    'MembershipLostError'
    """

    def __init__(self, properties: Mapping[str, str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = float(properties.get(MAX_POLL_INTERVAL, SILENCE_MS)) / 1000
        self._clock = clock
        self._polled_at: float | None = None
        self._expelled_at: float | None = None

    def polled(self) -> None:
        """Note a poll."""
        now = self._clock()
        if self._polled_at is not None and now - self._polled_at > self._interval_s:
            self._expelled_at = now
        self._polled_at = now

    def expelled(self) -> None:
        """Note that the library says so."""
        self._expelled_at = self._clock()

    def meaning(self, refusal: ConfigurationError) -> BrokerPluginError:
        """Return what a refusal by the group means: what it says, unless we were silent for too long."""
        if self._expelled_at is None or self._clock() - self._expelled_at > EXPELLED_S:
            return refusal
        return MembershipLostError(
            f"the group has dropped this member, which had not polled for {self._interval_s:g} s, and now "
            f"refuses it: {refusal.found}",
            remedy="start the process again",
        )
