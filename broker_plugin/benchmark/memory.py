# SPDX-License-Identifier: BSD-3-Clause
"""The most memory that this process has taken."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path

__all__ = ["peak_bytes"]

STATUS = Path("/proc/self/status")

PEAK = "VmHWM:"
"""The kernel's name of the largest resident memory, kB of 1024 bytes; a program begins it anew."""


def peak_bytes() -> int:
    """Return the largest resident memory that this process has had.

    Not `ru_maxrss`, which a program inherits from the process that started it: under a large parent every
    small one looks large. It is taken only where there is no `/proc`.

    Examples
    --------
    >>> 1e6 < peak_bytes() < 1e12
    True
    """
    with suppress(OSError):
        for line in STATUS.read_text("utf-8").splitlines():
            if line.startswith(PEAK):
                return 1024 * int(line.split()[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
