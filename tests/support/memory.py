# SPDX-License-Identifier: BSD-3-Clause
"""How much memory a process takes, and has taken at most."""

from __future__ import annotations

from pathlib import Path

__all__ = ["peak_mb", "resident_mb"]


def peak_mb(pid: int | str = "self") -> float:
    """Return the largest resident memory that a process had, MB; 0 if it has just ended.

    Not `ru_maxrss`, which a program inherits from the process that started it: under a large parent every
    small program looks large, and growth below the parent's size is not seen at all.

    Examples
    --------
    >>> peak_mb() >= resident_mb() > 0
    True
    """
    return _entry_mb(pid, "VmHWM")


def resident_mb(pid: int | str = "self") -> float:
    """Return the resident memory of a process now, MB; 0 if it has just ended."""
    return _entry_mb(pid, "VmRSS")


def _entry_mb(pid: int | str, name: str) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
    except OSError:
        return 0.0
    sizes_kb = (int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:"))
    return next(sizes_kb, 0) / 1024
