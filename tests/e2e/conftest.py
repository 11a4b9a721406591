# SPDX-License-Identifier: BSD-3-Clause
"""Processes of a test end with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.e2e.service import start_run
from tests.support.process import ServerProcess

StartRun = Callable[..., ServerProcess]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[StartRun]:
    """Starter of `broker-plugin run` with the given flags: `run(flags, survey="lsst", name="second")`."""
    started: list[ServerProcess] = []

    def start(
        flags: Sequence[str],
        *,
        survey: str = "ztf",
        name: str = "run",
        variables: Mapping[str, str] | None = None,
    ) -> ServerProcess:
        started.append(start_run(tmp_path, flags, survey=survey, name=name, variables=variables))
        return started[-1]

    yield start
    for process in started:
        process.kill()
