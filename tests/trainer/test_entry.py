# SPDX-License-Identifier: BSD-3-Clause
"""Without the `train` extra the commands say what to install; the rest of the package needs none of it."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from tests.support.artefacts import REPOSITORY

WITHOUT_TORCH = """
import runpy, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
module, sys.argv = sys.argv[1], sys.argv[1:]
"""

AS_MODULE = "runpy.run_module(module, run_name='__main__')"


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH + script, *arguments],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )


@pytest.mark.parametrize("command", [("trainer", "train"), ("export",)])
def test_without_the_extra_help_says_what_to_install(command: tuple[str, ...]) -> None:
    module = command[0]
    result = run(AS_MODULE, *command, "--help")
    assert result.returncode == 2
    assert (
        result.stderr
        == f"{module} needs the extra `train`, for torch is not installed; pip install '.[train]'\n"
    )


def test_without_the_extra_the_overview_is_shown() -> None:
    result = run(AS_MODULE, "trainer", "--help")
    assert result.returncode == 0
    assert "fit-anomaly" in result.stdout


def test_the_installed_command_says_it_too() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, function = project["scripts"]["trainer"].partition(":")
    result = run(f"import {module}; {module}.{function}()", "trainer", "train", "--help")
    assert result.returncode == 2
    assert "pip install '.[train]'" in result.stderr


def test_a_module_of_ours_that_is_missing_is_a_defect_and_shown_as_one() -> None:
    result = run("from trainer.entry import start; start('trainer.nothing', name='trainer')", "trainer")
    assert result.returncode == 1
    assert "No module named 'trainer.nothing'" in result.stderr
