# SPDX-License-Identifier: BSD-3-Clause
"""Threads whose work nobody waits for at the end of the process, and how such a process ends."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn

__all__ = ["ExpendableThread", "are_at_work", "leave"]


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
