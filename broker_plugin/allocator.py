# SPDX-License-Identifier: BSD-3-Clause
"""What a process does with memory that it has freed: it keeps it."""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
"""Numbers of `mallopt` (malloc.h of the GNU C library)."""

KEPT_BYTES = 256 * 2**20
"""More than a batch of the longest histories takes for a moment; beside the 1.5 GB that a process may have,
little."""

LARGEST_KEPT_BYTES = 32 * 2**20
"""The largest block that the GNU C library lets its heap hold, whatever its version."""


def keep_freed_memory() -> bool:
    """Have the C library keep what arrays leave behind for the next ones, and return whether it does.

    By default it gives large blocks back at once, and the next batch's first touch of each page is a fault
    that the system answers with zeros: a fifth of the time in which a trainer's workers make windows of light
    curves, and some percent of that of a Rubin alert. Other C libraries are left as they are.

    Examples
    --------
    >>> keep_freed_memory() in (True, False)
    True
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # not glibc; on Windows there is no such library at all
        return False
    return all([mallopt(M_TRIM_THRESHOLD, KEPT_BYTES), mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)])
