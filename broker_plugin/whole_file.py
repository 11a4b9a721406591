# SPDX-License-Identifier: BSD-3-Clause
"""Small files that others see whole or not at all, whenever the process ends and whatever the disk takes."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

__all__ = ["PART", "sync_folder", "write_whole"]

PART = ".part"
"""What the name of something ends with while it is being written, or thrown away."""


def write_whole(path: Path, content: bytes) -> None:
    """Put a file on the disk under its name, in the place of an older one.

    Its permissions are the usual ones, so that others can read what lies in a folder of theirs too.

    Raises
    ------
    OSError
        If it cannot be written. An older one stays then, and nothing else is left.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(Path(folder) / "file", b"content")
    ...     [(each.name, each.read_bytes()) for each in Path(folder).iterdir()]
    [('file', b'content')]
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{PART}")
    try:
        with part.open("xb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
