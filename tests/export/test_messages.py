# SPDX-License-Identifier: BSD-3-Clause
"""What cannot be exported is named as it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import export.astrom3
import export.cli


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
@pytest.mark.parametrize("command", [export.cli.main, export.astrom3.main])
def test_brackets_in_a_name_are_no_markup(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: Callable[[], None],
) -> None:
    run = tmp_path / "[run]"
    monkeypatch.setattr(sys, "argv", ["export", "--checkpoint", str(run), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 2
    assert str(run) in capsys.readouterr().err
