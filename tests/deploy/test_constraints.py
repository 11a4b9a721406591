# SPDX-License-Identifier: BSD-3-Clause
"""Whatever is installed by the constraints is pinned, down to what the requirements themselves require.

What would be installed is resolved and not installed: the CUDA libraries alone are 2 GB.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib

import pytest

from tests.support.artefacts import REPOSITORY
from tests.support.tiers import unavailable

OLDEST = "3.11"
"""The oldest Python that is supported, for which a library or two more is installed."""

UNANSWERED = 2
"""Exit status of uv where it failed otherwise than by finding no versions that fit."""

RUNTIMES = frozenset({"cpu", "gpu", "openvino"})
"""Extras that exclude one another."""


def extras() -> set[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    return set(project["optional-dependencies"])


def resolved(*chosen: str) -> set[str]:
    """Return what would be installed for some extras, each as `name==version`."""
    if importlib.util.find_spec("uv") is None:
        unavailable("no uv to resolve with; `pip install uv`")
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "pyproject.toml",
        "--constraints",
        "constraints.txt",
    ]
    command += ["--quiet", "--no-header", "--no-annotate", "--no-emit-index-url", "--python-version", OLDEST]
    for extra in chosen:
        command += ["--extra", extra]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode == UNANSWERED:
        unavailable(f"the package index does not answer: {done.stderr[-500:]}")
    assert done.returncode == 0, done.stderr
    return {line.partition(" ;")[0] for line in done.stdout.splitlines() if "==" in line}


def pins() -> set[str]:
    return {line for line in (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines() if "==" in line}


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_all_that_any_extra_installs_is_pinned_and_the_pins_fit_together(runtime: str) -> None:
    found = resolved(runtime, *sorted(extras() - RUNTIMES))
    assert found
    assert found - pins() == set()
