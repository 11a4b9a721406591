# SPDX-License-Identifier: BSD-3-Clause
"""Processes are ready in seconds: at their first start, when they compile, and at every one after it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from broker_plugin.benchmark.team import Team
from broker_plugin.benchmark.whole_way import open_whole_way
from broker_plugin.pipeline.assembly import FilterRecipe

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

WORKERS = 2
"""One for each core; both compile at the same time."""

FIRST_MAX_S, WARM_MAX_S = 20.0, 5.0


def test_two_processes_are_ready_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kernels"))
    work = partial(open_whole_way, FilterRecipe(device="cpu"))

    def ready_s() -> float:
        with Team(work, tmp_path, WORKERS) as team:
            return team.ready.wall_s

    first_s, warm_s = ready_s(), ready_s()
    Console().print(f"{WORKERS} processes are ready after {first_s:.1f} s at first, {warm_s:.1f} s warm")
    assert any((tmp_path / "kernels").iterdir()), "nothing was compiled"
    assert first_s < FIRST_MAX_S
    assert warm_s < WARM_MAX_S
