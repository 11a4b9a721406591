# SPDX-License-Identifier: BSD-3-Clause
"""Ends a process whose loop stands still, since not every supervisor asks `/healthz`.

Kubernetes does; systemd and Docker start again who has ended, and look no closer. What stands still may be
the interpreter itself, in compiled code that keeps its lock. So a thread of `faulthandler` keeps the watch,
which needs nothing of Python: it writes where each thread stands, and ends the process with status 1.
"""

from __future__ import annotations

import faulthandler
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from broker_plugin.pipeline.monitor import QuietMonitor
from broker_plugin.settings import Settings

__all__ = ["Watchdog", "stuck_after_s"]

STUCK_S = 300.0
"""Silence of the loop after which the process ends, beyond what its settings allow: more than twice what
`/healthz` bears, so that whoever asks there acts first."""

WAITS_TO_SEND = 6
"""How often the loop at most waits for the output's brokers between two signs of life, in a transaction: to
take its id, for room, for the messages, for the offsets, to commit, to abort."""

RENEWALS = 100
"""How often a watch is renewed in its time. Each renewal starts a thread, in some 0.1 ms."""


def stuck_after_s(settings: Settings) -> float:
    """Return the silence after which the loop of a service counts as stuck for good.

    Examples
    --------
    >>> stuck_after_s(Settings(stop_deadline_s=15.0, ack_timeout_s=10.0))
    375.0
    """
    return STUCK_S + settings.stop_deadline_s + WAITS_TO_SEND * settings.ack_timeout_s


class Watchdog(QuietMonitor):
    """Watches over the loop while the context is open.

    Parameters
    ----------
    stuck_s
        Silence after which the process ends; up to a hundredth more than that is allowed to pass.
    clock
        Seconds that never go back.
    """

    def __init__(self, *, stuck_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stuck_s = stuck_s
        self._clock = clock
        self._renewal_due = clock()

    def __enter__(self) -> Self:
        self.beat()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        faulthandler.cancel_dump_traceback_later()

    def beat(self) -> None:
        """Note a sign of life."""
        now = self._clock()
        if now >= self._renewal_due:
            self._renewal_due = now + self._stuck_s / RENEWALS
            faulthandler.dump_traceback_later(self._stuck_s, exit=True)
