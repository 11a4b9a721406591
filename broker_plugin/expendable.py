# SPDX-License-Identifier: BSD-3-Clause
"""Threads whose work nobody waits for at the end of the process, and how such a process ends."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

__all__ = ["ExpendableThread", "are_at_work", "leave", "leaving_on_surprise"]

STATUS_OF_SURPRISE = 1
"""Python's own for an exception that nobody handles."""


class ExpendableThread(threading.Thread):
    """A thread that may be given up in the midst of its work, since what it makes then counts for nothing.

    Attributes
    ----------
    at_work
        Whether it does something now that must not meet the end of the interpreter. The thread itself says.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.at_work = False


def are_at_work() -> bool:
    """Tell whether a thread that may be given up is in the midst of its work."""
    return any(isinstance(thread, ExpendableThread) and thread.at_work for thread in threading.enumerate())


def leave(status: int) -> NoReturn:
    """End the process with a status.

    Where an expendable thread is still at work, the interpreter is not taken down around it: compiled code
    that comes back from a long call then would abort the process, and its status would say nothing.
    """
    if are_at_work():
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # nobody may read it any more
                stream.flush()
        os._exit(status)
    sys.exit(status)


@contextmanager
def leaving_on_surprise() -> Iterator[None]:
    """Have an exception that nobody expects end the process as `leave` does, where a thread is at work."""
    try:
        yield
    except Exception as error:
        if not are_at_work():
            raise
        sys.excepthook(type(error), error, error.__traceback__)
        leave(STATUS_OF_SURPRISE)
