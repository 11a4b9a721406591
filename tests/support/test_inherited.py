# SPDX-License-Identifier: BSD-3-Clause
"""A run hands down its bytecode and, where it is spread over workers, one thread to each process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.artefacts import REPOSITORY

TEST = """
import os, subprocess, sys

def test_what_a_process_gets(tmp_path):
    (tmp_path / "module.py").write_text("")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", "import module"], env=environment, check=True)
    prefix = os.environ["PYTHONPYCACHEPREFIX"]
    kept = [name for _, _, names in os.walk(prefix + str(tmp_path)) for name in names]
    assert len(kept) == 1
    assert not (tmp_path / "__pycache__").exists()
    assert os.environ.get("OMP_NUM_THREADS") == {threads!r}
"""


@pytest.mark.parametrize(("workers", "threads"), [("0", None), ("1", "1")])
def test_processes_keep_their_bytecode_and_share_the_processor(
    tmp_path: Path, workers: str, threads: str | None
) -> None:
    (tmp_path / "test_it.py").write_text(TEST.replace("{threads!r}", repr(threads)))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "ASTROM3_TEST_CACHE": str(tmp_path / "cache"),
    }
    pytest_command = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "-p", "tests.conftest"]
    done = subprocess.run(
        [*pytest_command, "-p", "no:cacheprovider", "-n", workers, str(tmp_path / "test_it.py")],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
