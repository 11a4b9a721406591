# SPDX-License-Identifier: BSD-3-Clause
"""SIGTERM and SIGINT end the work in order; a second one ends the process at once. SIGHUP asks for news.

A process that is started with signals held back has them wait until it knows what to do with them.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType

__all__ = [
    "InterruptedBySignal",
    "held_back",
    "hurry_on_hangup",
    "interrupt_on_signal",
    "let_through",
    "stop_on_signal",
]

SIGNALS = (signal.SIGTERM, signal.SIGINT)

HELD_BACK = (*SIGNALS, signal.SIGHUP)
"""What a terminal or systemd sends to all processes of a group at once."""


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


@contextmanager
def held_back() -> Iterator[None]:
    """Have signals wait, here and in the processes that are started meanwhile, which `let_through` later.

    Examples
    --------
    >>> heard = []
    >>> before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    >>> with held_back():
    ...     signal.raise_signal(signal.SIGTERM)
    ...     print(heard)
    []
    >>> heard == [signal.SIGTERM], signal.signal(signal.SIGTERM, before) is before
    (True, False)
    """
    resource_tracker.ensure_running()  # before: whoever starts it lets SIGTERM and SIGINT through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """Take the signals that were held back, those that wait and those to come."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)


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
