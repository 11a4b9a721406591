# SPDX-License-Identifier: BSD-3-Clause
"""Processes that share work out, and end with it: when it is done, given up, or its process was killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from typing import Any

from broker_plugin.allocator import keep_freed_memory
from broker_plugin.parent import end_with_parent
from broker_plugin.service.logging import configure_logging

__all__ = ["processes"]


@contextmanager
def processes(
    n: int, *, begin: Callable[..., None] | None = None, given: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """Start fresh processes for as long as the block takes.

    If it is left by an error or a signal, they are ended in the middle of what they are at.

    Parameters
    ----------
    n
        How many.
    begin, given
        What each calls first, and with what.

    Examples
    --------
    >>> with processes(1) as pool:
    ...     list(pool.map(abs, [-1, 2]))
    [1, 2]
    """
    context, others = get_context("spawn"), set(active_children())
    with ProcessPoolExecutor(n, mp_context=context, initializer=_begin, initargs=(begin, given)) as pool:
        try:
            yield pool
        except BaseException:
            for process in set(active_children()) - others:
                process.terminate()  # what it is at, nobody takes any more
            pool.shutdown(cancel_futures=True)
            raise


def _begin(begin: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    end_with_parent()
    keep_freed_memory()
    configure_logging(level="warning")
    if begin is not None:
        begin(*given)
