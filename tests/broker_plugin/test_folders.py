# SPDX-License-Identifier: BSD-3-Clause
"""Caches lie where the user keeps caches."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker_plugin.folders import cache_folder


def test_caches_lie_where_the_user_keeps_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("schemas") == tmp_path / "astrom3-broker" / "schemas"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder("schemas") == Path.home() / ".cache" / "astrom3-broker" / "schemas"
