# SPDX-License-Identifier: BSD-3-Clause
"""SIGTERM and SIGINT end the work in order; a second one ends the process at once. SIGHUP asks for news."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["InterruptedBySignal", "hurry_on_hangup", "interrupt_on_signal", "stop_on_signal"]

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_on_signal(stop: threading.Event) -> Iterator[None]:
    """Set an event at the first signal to stop, and leave a second one to the system.

    Parameters
    ----------
    stop
        The event.
    """

    def note(number: int, _: FrameType | None) -> None:
        stop.set()
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def hurry_on_hangup(hurry: threading.Event) -> Iterator[None]:
    """Set an event at each SIGHUP, which would end the process otherwise.

    Parameters
    ----------
    hurry
        The event.
    """
    before = signal.signal(signal.SIGHUP, lambda number, frame: hurry.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


class InterruptedBySignal(BaseException):
    """A signal to stop came, and what was under way is given up. No `Exception`, so that nothing swallows it.

    Parameters
    ----------
    number
        The signal; `exit_status` is what a shell says of a process that it ended.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


@contextmanager
def interrupt_on_signal() -> Iterator[None]:
    """Raise `InterruptedBySignal` at the first signal to stop, and leave a second one to the system."""

    def give_up(number: int, _: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        raise InterruptedBySignal(number)

    before = {number: signal.signal(number, give_up) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
