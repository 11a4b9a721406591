# SPDX-License-Identifier: BSD-3-Clause
"""Calls into the Kafka library that must not hold the loop for ever.

Some of its calls wait for an answer of their own threads without a limit, whatever timeout they were given:
leaving a group whose coordinator is away takes the session's time, and after a broker's restart
`send_offsets_to_transaction` was seen not to return at all (librdkafka issues 5456 and 5511).
"""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["CallAbandonedError", "call_within"]


class CallAbandonedError(Exception):
    """A call did not return in time. It may still be running, so what it works on must not be used again."""


def call_within(step: Callable[[], object], *, timeout_s: float, name: str) -> None:
    """Make a call in a thread of its own and wait for its end.

    Parameters
    ----------
    step
        What to call; an exception of it is raised here.
    timeout_s
        Longest wait.
    name
        Name of the thread, for a debugger.

    Raises
    ------
    CallAbandonedError
        If the call has not returned by then.

    Examples
    --------
    >>> call_within(lambda: None, timeout_s=1.0, name="nothing")
    >>> call_within(threading.Event().wait, timeout_s=0.01, name="never")
    Traceback (most recent call last):
    broker_plugin.streams.bounded_call.CallAbandonedError: never did not return in 0.01 s
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            step()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise CallAbandonedError(f"{name} did not return in {timeout_s:g} s")
    if raised:
        # Taken out, so that no cycle of references keeps alive what the call worked on.
        raise raised.pop()
