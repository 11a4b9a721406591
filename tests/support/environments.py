# SPDX-License-Identifier: BSD-3-Clause
"""Environments of their own, for packages that cannot share the one of the tests."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from tests.support.artefacts import REPOSITORY, cache_dir, locked
from tests.support.process import ServerUnavailableError

__all__ = ["SPARK", "core_requirements", "environment_of", "in_environment", "interpreter_of", "pinned"]

SPARK: Mapping[str, str] = {
    "SPARK_LOCAL_IP": "127.0.0.1",
    "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}
"""Variables of a Spark that lives for seconds: its own optimising compiler would take as long as its work."""

CONSTRAINTS = REPOSITORY / "constraints.txt"
"""The pins of development."""

INSTALL_S = 900.0
"""Longest wait for 400 MB of wheels on a slow line."""


def core_requirements() -> list[str]:
    """Return what the package itself requires, without any of its extras."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return sorted(project["dependencies"])


def pinned(names: Iterable[str]) -> list[str]:
    """Return packages at the versions that the tests themselves run with.

    Examples
    --------
    >>> pinned(["numpy"])[0].startswith("numpy==")
    True
    """
    return [f"{name}=={version(name)}" for name in names]


def interpreter_of(name: str, requirements: Sequence[str], *, constrained: bool = True) -> Path:
    """Return the Python of an environment, made on demand, again when the requirements changed.

    Parameters
    ----------
    constrained
        Hold to the pins of development.

    Raises
    ------
    ServerUnavailableError
        If it cannot be made.
    """
    folder = cache_dir() / name
    constraints = CONSTRAINTS if constrained and CONSTRAINTS.exists() else None
    pins = constraints.read_text() if constraints else ""
    wanted = hashlib.sha256(repr((list(requirements), pins)).encode()).hexdigest()[:16]
    stamp = folder / f"ready-{wanted}"
    with locked(cache_dir() / "locks" / f"{name}.lock"):
        if not stamp.exists():
            # Environments hold their own path, so this one is made in place, and stamped when complete.
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, list(requirements), constraints)
            stamp.touch()
    return folder / "bin" / "python"


def environment_of(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a process in an environment, this checkout's packages importable."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**inherited, "PYTHONPATH": str(REPOSITORY), **variables}


def in_environment(
    interpreter: Path,
    arguments: Sequence[str],
    *,
    timeout_s: float = 120.0,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run an environment's Python, with this checkout's packages importable, whatever it returns."""
    return subprocess.run(
        [str(interpreter), *arguments],
        cwd=REPOSITORY,
        env=environment_of(variables or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


def _make(folder: Path, requirements: list[str], constraints: Path | None) -> None:
    interpreter = str(folder / "bin" / "python")
    if constraints is not None:
        requirements = [*requirements, "--constraint", str(constraints)]
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
