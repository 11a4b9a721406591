# SPDX-License-Identifier: BSD-3-Clause
"""What the README shows can be typed as it stands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from broker_plugin.cli import COMMANDS
from tests.support.artefacts import REPOSITORY
from tests.support.pages import blocks

PAGE = REPOSITORY / "README.md"

README = PAGE.read_text("utf-8")

GROUPS = frozenset({"dlq"})
"""Commands that have commands of their own."""


def test_the_python_runs_on_a_file_of_alerts(data_dir: Path, tmp_path: Path) -> None:
    shutil.copy(data_dir / "alerts/lsst/lsst_v9_0_nocutouts.avro", tmp_path / "night.avro")
    (block,) = blocks(PAGE, "python")
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


def test_every_command_and_flag_exists() -> None:
    shown = "\n".join(blocks(PAGE, "sh")).replace("\\\n", " ")
    calls = re.findall(r"^broker-plugin (\w+)(.*)$", shown, re.MULTILINE)
    assert {name for name, _ in calls} >= {"run", "replay", "subscribe", "inspect", "doctor"}
    parted = [((name, *rest.split()[:1]) if name in GROUPS else (name,), rest) for name, rest in calls]
    for command in {command for command, _ in parted}:
        assert command[0] in COMMANDS
        result = subprocess.run(
            [sys.executable, "-m", "broker_plugin", *command, "--help"],
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            check=True,
        )
        for flag in re.findall(r"--[a-z-]+", " ".join(rest for called, rest in parted if called == command)):
            assert re.search(rf"{flag}\b", result.stdout), f"{command} {flag}"


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)", README))))
def test_what_it_links_to_is_there(link: str) -> None:
    assert (REPOSITORY / link).exists()
