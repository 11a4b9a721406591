# SPDX-License-Identifier: BSD-3-Clause
"""What the README shows can be typed as it stands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.artefacts import REPOSITORY
from tests.support.guides import blocks, links, unknown_flags

README = REPOSITORY / "README.md"


def test_the_python_runs_on_a_file_of_alerts(data_dir: Path, tmp_path: Path) -> None:
    shutil.copy(data_dir / "alerts/lsst/lsst_v9_0_nocutouts.avro", tmp_path / "night.avro")
    (block,) = blocks(README, "python")
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n{block}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    _, *verdicts = result.stdout.splitlines()
    assert len(verdicts) == 229
    assert all(line.startswith("lsst:") for line in verdicts)


def test_its_commands_are_those_that_matter() -> None:
    shown = "\n".join(blocks(README, "sh"))
    assert set(re.findall(r"^broker-plugin (\w+)", shown, re.MULTILINE)) >= {
        "run",
        "replay",
        "subscribe",
        "inspect",
        "doctor",
    }
    assert unknown_flags(README, "sh") == []


@pytest.mark.parametrize("link", sorted({str(target) for target, _ in links(README)}))
def test_what_it_links_to_is_there(link: str) -> None:
    assert Path(link).exists()
