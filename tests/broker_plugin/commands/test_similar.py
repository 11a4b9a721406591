# SPDX-License-Identifier: BSD-3-Clause
"""`similar` reads a store that a run has written, and makes none."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker_plugin.commands.similar import similar
from broker_plugin.errors import ConfigurationError


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "mistyped.sqlite"
    with pytest.raises(ConfigurationError, match=r"there is no store .*mistyped\.sqlite"):
        similar(store=f"sqlite:{path}")
    assert not list(tmp_path.iterdir())
