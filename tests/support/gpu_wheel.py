# SPDX-License-Identifier: BSD-3-Clause
"""An environment of its own with the real `onnxruntime-gpu` wheel, for a machine without a GPU.

The wheel and the CPU wheel install the same module, so they cannot share an environment. The CUDA
libraries (another 2 GB) are left out: without a GPU the wheel answers the same with and without them.
It lists the CUDA provider as available, and a session that asks for it comes up on the CPU with
nothing but lines on standard error.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tests.support.artefacts import REPOSITORY, cache_dir, locked
from tests.support.process import ServerUnavailableError

__all__ = ["gpu_wheel_interpreter", "in_gpu_wheel"]

WHEEL = "onnxruntime-gpu>=1.22"
"""The runtime of the `gpu` extra, without its CUDA libraries."""

CONSTRAINTS = REPOSITORY / "constraints.txt"
"""The pins of development, which hold here too."""

INSTALL_S = 900.0
"""Longest wait for 400 MB of wheels on a slow line."""


def gpu_wheel_interpreter() -> Path:
    """Return the Python of the environment, made on demand, again when the requirements changed."""
    folder = cache_dir() / "gpu-venv"
    interpreter = folder / "bin" / "python"
    wanted = _requirements()
    pins = CONSTRAINTS.read_text() if CONSTRAINTS.exists() else ""
    stamp = folder / f"ready-{hashlib.sha256(repr((wanted, pins)).encode()).hexdigest()[:16]}"
    with locked(cache_dir() / "locks" / "gpu-venv.lock"):
        if not stamp.exists():
            # Environments hold their own path, so this one is made in place, and stamped when complete.
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, wanted)
            stamp.touch()
    return interpreter


def in_gpu_wheel(
    interpreter: Path, arguments: Sequence[str], *, timeout_s: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run the environment's Python, with this checkout's packages importable, whatever it returns."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONPATH"] = str(REPOSITORY)
    environment["CUDA_VISIBLE_DEVICES"] = "-1"  # so that a machine with a GPU behaves as one without
    return subprocess.run(
        [str(interpreter), *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


def _requirements() -> list[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return [*sorted(project["dependencies"]), WHEEL]


def _make(folder: Path, requirements: list[str]) -> None:
    interpreter = str(folder / "bin" / "python")
    if CONSTRAINTS.exists():
        requirements = [*requirements, "--constraint", str(CONSTRAINTS)]
    if importlib.util.find_spec("uv") is not None:
        steps = [
            [sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, str(folder)],
            [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", interpreter, *requirements],
        ]
    else:
        steps = [
            [sys.executable, "-m", "venv", str(folder)],
            [interpreter, "-m", "pip", "install", "--quiet", *requirements],
        ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False, timeout=INSTALL_S)
        if done.returncode != 0:
            output = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            raise ServerUnavailableError(
                f"{' '.join(step)} failed; is the package index reachable?\n{output}"
            )
