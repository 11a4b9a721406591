# SPDX-License-Identifier: BSD-3-Clause
"""Where this software keeps what it can make or fetch again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder(name: str) -> Path:
    """Return the user's folder for something that can be had again: `$XDG_CACHE_HOME/astrom3-broker/NAME`.

    Examples
    --------
    >>> cache_folder("schemas").parts[-2:]
    ('astrom3-broker', 'schemas')
    """
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "astrom3-broker" / name
