# SPDX-License-Identifier: BSD-3-Clause
"""What a process that lasts does with its memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from broker_plugin.allocator import keep_freed_memory

__all__ = ["lasting", "take_for_lasting"]


def take_for_lasting() -> None:
    """Leave what there is now out of the search for garbage, and keep what batches free for the next ones.

    Modules, schemas, bundles and compiled kernels are 150,000 objects. Each full search goes through all of
    them: 80 ms in which no batch is judged, and with the smaller searches a tenth of the processor time.
    """
    gc.collect()
    gc.freeze()
    keep_freed_memory()


@contextmanager
def lasting() -> Iterator[None]:
    """Do so; the search for garbage is what it was once the block is left.

    Examples
    --------
    >>> with lasting():
    ...     gc.get_freeze_count() > 0
    True
    """
    take_for_lasting()
    try:
        yield
    finally:
        gc.unfreeze()
