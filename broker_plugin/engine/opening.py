# SPDX-License-Identifier: BSD-3-Clause
"""The opening of a bundle can be given up: it asks between its steps, a graph or a shape each.

On a GPU, or a processor that others use, all steps take a minute; one of them takes a second or two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import structlog

__all__ = ["OpeningAbandonedError", "abandoned_when", "begin_step"]


log = structlog.get_logger(__name__)


class OpeningAbandonedError(Exception):
    """A bundle, or a service, was being opened, and nobody wants it any more."""


_unwanted: ContextVar[Callable[[], bool]] = ContextVar("unwanted", default=lambda: False)


@contextmanager
def abandoned_when(unwanted: Callable[[], bool]) -> Iterator[None]:
    """Have the openings of bundles in this block, in this thread, ask whether to go on.

    Parameters
    ----------
    unwanted
        Tells whether to give up; then `OpeningAbandonedError` is raised.

    Examples
    --------
    >>> with abandoned_when(lambda: False):
    ...     begin_step()
    """
    token = _unwanted.set(unwanted)
    try:
        yield
    finally:
        _unwanted.reset(token)


def begin_step() -> None:
    """Begin a step of an opening, unless it is to be given up."""
    if _unwanted.get()():
        log.info("opening_abandoned")
        raise OpeningAbandonedError
