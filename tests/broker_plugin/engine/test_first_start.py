# SPDX-License-Identifier: BSD-3-Clause
"""What several processes compile at a first start is all that this one needs."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

from broker_plugin.codec import bulk, machine
from broker_plugin.engine import first_start
from broker_plugin.engine.opening import OpeningAbandonedError, abandoned_when
from broker_plugin.features import (
    epoch_kernels,
    fold_kernels,
    peaks,
    periodogram,
    transform_kernels,
    variability_kernels,
)
from broker_plugin.features import warm_up as features
from broker_plugin.surveys import epoch_kernels as curve_kernels

KERNELS = (
    machine.run_segments,
    curve_kernels.choose_epochs,
    epoch_kernels.deviate,
    epoch_kernels.standardise,
    fold_kernels.fold_all,
    peaks.find_peaks,
    periodogram.grids,
    periodogram.power_directly,
    transform_kernels.spread_weights,
    transform_kernels.sums_of_weights,
    transform_kernels.spread_values,
    transform_kernels.power_of_values,
    variability_kernels.describe,
)


def signatures() -> dict[str, set[Any]]:
    return {kernel.__name__: {*kernel.signatures} for kernel in KERNELS}  # type: ignore[attr-defined]


def test_the_parts_compile_what_a_warm_up_needs_and_no_more() -> None:
    for part in first_start.PARTS.values():
        part()
    of_parts = signatures()
    assert all(of_parts.values())
    bulk.warm_up()
    features.warm_up()
    assert signatures() == of_parts


@pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < len(first_start.PARTS),
    reason="with so few cores nothing is compiled in processes at all",
)
def test_nothing_is_compiled_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    first_start.warm_up()

    def fail() -> None:
        raise AssertionError("everything is compiled already")

    monkeypatch.setattr(first_start, "_compile_in_processes", fail)
    first_start.compile_kernels()


def test_who_compiles_imports_nothing_from_where_the_service_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "was_imported"
    (tmp_path / "structlog.py").write_text(f"open({str(trap)!r}, 'w')", "utf-8")
    monkeypatch.chdir(tmp_path)
    first_start._compile_in_processes()
    assert not trap.exists()


def test_nobody_compiles_on_for_an_opening_that_is_given_up() -> None:
    with abandoned_when(lambda: True), pytest.raises(OpeningAbandonedError):
        first_start._compile_in_processes()
    children = psutil.Process(os.getpid()).children()
    assert not [child for child in children if first_start.__name__ in child.cmdline()]


@pytest.fixture
def another_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hold the lock as another process does while it compiles."""
    monkeypatch.setattr(first_start.decoder, "compiled_kernels", lambda: (tmp_path, False))
    with (tmp_path / "compiling.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.usefixtures("another_compiles")
def test_an_opening_that_is_given_up_does_not_wait_for_who_compiles() -> None:
    looks = iter([False, True])
    with abandoned_when(lambda: next(looks)), pytest.raises(OpeningAbandonedError), first_start._alone():
        raise AssertionError("another holds the lock")


@pytest.mark.usefixtures("another_compiles")
def test_who_compiles_for_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_start, "WAIT_S", 0.3)
    with capture_logs() as logs, first_start._alone():
        assert [entry["event"] for entry in logs] == ["kernels_compiled_without_lock"]
