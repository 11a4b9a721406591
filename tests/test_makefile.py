# SPDX-License-Identifier: BSD-3-Clause
"""What `make` does with an environment that is there already."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.artefacts import REPOSITORY
from tests.support.tiers import unavailable

UV = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/../calls"
"""


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An environment whose `uv` only notes what it was asked for."""
    if shutil.which("make") is None:
        unavailable("no make")
    uv = tmp_path / "venv" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.write_text(UV)
    uv.chmod(0o755)
    return tmp_path / "venv"


def make(venv: Path, runtime: str) -> list[list[str]]:
    """Make the environment ready for a runtime; return what `uv` was asked for."""
    calls = venv / "calls"
    calls.unlink(missing_ok=True)
    subprocess.run(
        ["make", f"VENV={venv}", f"RUNTIME={runtime}", f"{venv}/.{runtime}"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    return [line.split() for line in calls.read_text().splitlines()] if calls.exists() else []


def test_another_runtimes_wheel_leaves_before_a_new_one_comes(venv: Path) -> None:
    assert [call[1] for call in make(venv, "cpu")] == ["install"]
    uninstall, install = make(venv, "gpu")
    assert uninstall[1] == "uninstall"
    assert {"onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"} <= set(uninstall)
    assert install[-1] == ".[gpu]"
    assert not (venv / ".cpu").exists()
    assert [call[1] for call in make(venv, "cpu")] == ["uninstall", "install"]
    assert not (venv / ".gpu").exists()


def rehearse(venv: Path, target: str) -> str:
    """Return the commands that a target would run."""
    shown = subprocess.run(
        ["make", "--dry-run", f"VENV={venv}", target],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    return shown.stdout


def test_help_names_every_target() -> None:
    targets = re.findall(r"^\.PHONY: help (.*)$", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE)
    shown = subprocess.run(["make"], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    named = re.findall(r"^  make (\w+)  +\S", shown, re.MULTILINE)
    assert sorted(named) == sorted(["help", *targets[0].split()])


def test_files_of_tests_are_spread_over_workers_and_long_science_has_its_own_target(venv: Path) -> None:
    assert "--numprocesses 4 --dist loadfile" in rehearse(venv, "test")
    assert "-m slow" in rehearse(venv, "slow")
    assert "not slow" in (REPOSITORY / "pyproject.toml").read_text("utf-8")


def test_an_environment_that_is_ready_is_left_alone(venv: Path) -> None:
    make(venv, "cpu")
    assert make(venv, "cpu") == []
