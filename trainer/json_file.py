# SPDX-License-Identifier: BSD-3-Clause
"""JSON files that are whole whenever the process was killed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["write_json"]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file under its name only when it is whole; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(content, indent=2) + "\n")
    unfinished.replace(path)
