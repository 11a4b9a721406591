# SPDX-License-Identifier: BSD-3-Clause
"""What a page shows to be typed."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["blocks"]

BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """Return a page's blocks in a language, in order."""
    return [text for name, text in BLOCK.findall(page.read_text("utf-8")) if name == language]
