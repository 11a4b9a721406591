# SPDX-License-Identifier: BSD-3-Clause
"""How many messages there must be, so that every batch of every process is as large as is stated."""

from __future__ import annotations

from math import ceil

__all__ = ["whole_batches"]

EACH_MIN = 64
"""Messages of one process: a batch of the baseline, and as many of the smallest batches as can be timed."""


def whole_batches(batch: int, *, workers: int, least: int = 0) -> int:
    """Return the fewest messages that give each process whole batches, and as many as each other one.

    A batch that is smaller than it is said to be makes an alert dearer: one of 14 by half, against 256.

    Parameters
    ----------
    batch
        Messages at a time.
    workers
        Processes that the messages are dealt out to.
    least
        Messages that there should be, all processes together.

    Examples
    --------
    >>> whole_batches(256, workers=2)
    512
    >>> whole_batches(256, workers=3, least=1000)
    1536
    >>> whole_batches(8, workers=1)
    64
    """
    return workers * batch * max(ceil(EACH_MIN / batch), ceil(least / (workers * batch)))
