# SPDX-License-Identifier: BSD-3-Clause
"""A file system that is soon full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.tiers import unavailable

__all__ = ["SmallDisk", "small_disk"]

FILLER = "filler"


class SmallDisk:
    """A mounted file system of a fixed size.

    Parameters
    ----------
    folder
        Where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def free_bytes(self) -> int:
        """What is left of it."""
        state = os.statvfs(self.folder)
        return state.f_bavail * state.f_frsize

    def fill(self, *, leave_bytes: int) -> None:
        """Take all of it up but so much."""
        with (self.folder / FILLER).open("wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, max(1, self.free_bytes - leave_bytes))

    def free(self) -> None:
        """Give back what `fill` took."""
        (self.folder / FILLER).unlink()


@contextmanager
def small_disk(folder: Path, *, size_mb: int) -> Iterator[SmallDisk]:
    """Mount one in memory until the block ends; a test that may not mount has no means."""
    folder.mkdir(parents=True, exist_ok=True)
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    mount = [*sudo, "mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=777", "small", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError as missing:
        unavailable(f"no file system can be mounted here: {missing}")
    if done.returncode != 0:  # a container may not, and nothing that can be installed would change that
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run([*sudo, "umount", "--lazy", str(folder)], check=True)
