# SPDX-License-Identifier: BSD-3-Clause
"""Processes are ready in seconds: at their first start, when they compile, and at every one after it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tests.support.artefacts import REPOSITORY

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

FIRST_MAX_S, WARM_MAX_S = 20.0, 5.0
"""On two cores with nothing else on them."""

MACHINE_CODE = "*.nb[ci]"

STARTS = """
import json
from functools import partial
from pathlib import Path

from broker_plugin.benchmark.team import Team
from broker_plugin.benchmark.whole_way import open_whole_way
from broker_plugin.pipeline.assembly import FilterRecipe

if __name__ == "__main__":
    ready_s = []
    for _ in range(2):
        with Team(partial(open_whole_way, FilterRecipe(device="cpu")), Path(), 2) as team:
            ready_s.append(team.ready.wall_s)
    print(json.dumps(ready_s))
"""
"""One process for each core; both compile at the same time."""


def test_two_processes_are_ready_soon(tmp_path: Path) -> None:
    package = tmp_path / "broker_plugin"
    shutil.copytree(REPOSITORY / "broker_plugin", package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "starts.py").write_text(STARTS, "utf-8")
    own = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    ended = subprocess.run(
        [sys.executable, "starts.py"],
        cwd=tmp_path,
        env={**own, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    first_s, warm_s = json.loads(ended.stdout)
    Console().print(f"two processes are ready after {first_s:.1f} s at first, {warm_s:.1f} s warm")
    assert any(package.rglob(MACHINE_CODE)), "nothing was compiled"
    assert first_s < FIRST_MAX_S
    assert warm_s < WARM_MAX_S
