# SPDX-License-Identifier: BSD-3-Clause
"""SIGTERM and SIGINT end the work in order; a second one ends the process at once. SIGHUP asks for news.

A process that is started with signals held back has them wait until it knows what to do with them.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from types import FrameType
from typing import NoReturn

from broker_plugin.expendable import leave

__all__ = [
    "InterruptedBySignal",
    "held_back",
    "hurry_on_hangup",
    "interrupt_on_signal",
    "let_through",
    "stop_on_signal",
    "unbroken",
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
        _leave_to_system()

    with _handled(note):
        yield


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
        self._number = number

    def end_process(self) -> NoReturn:
        """End the process by the signal, as who sent it expects; systemd takes status 143 for a failure."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # nobody may read it any more
                stream.flush()
        signal.signal(self._number, signal.SIG_DFL)
        signal.raise_signal(self._number)
        leave(self.exit_status)  # the first process of a container is not ended by a signal of its own


@contextmanager
def interrupt_on_signal() -> Iterator[Callable[[], None]]:
    """Raise `InterruptedBySignal` at the first signal to stop, and leave a second one to the system.

    It yields a function to call when it is too late to give up: a first signal changes nothing from then on.
    In other threads than the main one, which signals never reach, nothing is done.

    Examples
    --------
    >>> with interrupt_on_signal() as too_late:
    ...     too_late()
    ...     signal.raise_signal(signal.SIGTERM)
    >>> with interrupt_on_signal():
    ...     signal.raise_signal(signal.SIGTERM)
    Traceback (most recent call last):
        ...
    broker_plugin.signals.InterruptedBySignal: SIGTERM
    """
    is_late = threading.Event()

    def give_up(number: int, _: FrameType | None) -> None:
        _leave_to_system()
        if not is_late.is_set():
            raise InterruptedBySignal(number)

    with _handled(give_up):
        yield is_late.set


@contextmanager
def unbroken() -> Iterator[None]:
    """Have a signal to stop wait for the end of a block that must be done as a whole or not at all.

    A second one is left to the system. As with `interrupt_on_signal`, only the main thread knows of signals.

    Examples
    --------
    >>> with interrupt_on_signal():
    ...     with unbroken():
    ...         signal.raise_signal(signal.SIGTERM)
    ...         print("whole")
    Traceback (most recent call last):
        ...
    broker_plugin.signals.InterruptedBySignal: SIGTERM
    """
    waiting: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        waiting.append(number)
        _leave_to_system()

    # Not blocked: another thread of the process would be given the signal, and Python handles it in this one.
    try:
        with _handled(note):
            yield
    finally:
        for number in waiting:
            signal.raise_signal(number)


def _leave_to_system() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
