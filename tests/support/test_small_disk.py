# SPDX-License-Identifier: BSD-3-Clause
"""A small disk is full when it is said to be."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.support.small_disk import small_disk


def test_what_does_not_fit_is_refused_until_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", size_mb=4) as disk:
        disk.fill(leave_bytes=100_000)
        with pytest.raises(OSError, match="No space left") as refused:
            (disk.folder / "a").write_bytes(bytes(1_000_000))
        assert refused.value.errno == errno.ENOSPC
        disk.free()
        assert (disk.folder / "a").write_bytes(bytes(1_000_000)) == 1_000_000
    assert not (tmp_path / "disk" / "a").exists()
