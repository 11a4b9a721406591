# SPDX-License-Identifier: BSD-3-Clause
"""How long each stage of a batch took."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["RETRIED", "STAGES", "StageTimes"]

STAGES = ("decode", "history", "score", "encode", "produce", "ledger", "commit", "transaction")
"""The stages of a batch, in order; with exactly-once the last takes the place of the three before it."""

RETRIED = ("poll", "judge", "produce", "ledger", "commit", "transaction")
"""What may fail for a passing reason and be tried again: the stages that need something outside."""


class StageTimes(defaultdict[str, float]):
    """Seconds by stage, added up over attempts.

    Examples
    --------
    >>> times = StageTimes()
    >>> with times.of("decode"):
    ...     pass
    >>> list(times)
    ['decode']
    """

    def __init__(self) -> None:
        super().__init__(float)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Add the time spent in the block to a stage, also if the block raises."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self[stage] += time.perf_counter() - begun
