# SPDX-License-Identifier: BSD-3-Clause
"""A process that ends with the one that started it, however that ends."""

from __future__ import annotations

import multiprocessing
import os
import threading

__all__ = ["end_with_parent"]


def end_with_parent() -> None:
    """Have this process end as soon as its parent has. It is called in a worker, first of all.

    Without it a worker whose parent was killed may wait for work for ever.
    """
    threading.Thread(target=_watch, name="parent-watch", daemon=True).start()


def _watch() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # nobody is left to take what we make
