# SPDX-License-Identifier: BSD-3-Clause
"""A team shares out a corpus without losing any of it, and says what went wrong."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
import pytest

from broker_plugin.benchmark.corpus import Corpora, Corpus, store
from broker_plugin.benchmark.team import Counts, Task, Team, Work
from broker_plugin.errors import ConfigurationError, TransientError

N = 23

PARENT_BYTES = 800_000_000
"""Far more than a process that only adds up takes."""

WORK_BYTES = 200_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    values = tuple(bytes([number]) for number in range(N))
    corpora = Corpora(by_name={"some": Corpus(name="some", values=values, rows=np.zeros(N), about="")})
    store(corpora, tmp_path / "corpora")
    return tmp_path / "corpora"


def open_sums() -> Work:
    """Count messages, and add up what they say: both show that none is missing or comes twice."""

    def work(values: Sequence[bytes]) -> Counts:
        return Counts(verdicts=len(values), dead_letters=sum(value[0] for value in values))

    return work


def open_heavy() -> Work:
    """Take memory and give it back: it counts all the same."""

    def work(values: Sequence[bytes]) -> Counts:
        return Counts(verdicts=int(np.ones(WORK_BYTES // 8)[: len(values)].sum()))

    return work


def open_never() -> Work:
    raise ConfigurationError("there is no bundle", remedy="make one")


def open_killed() -> Work:
    os._exit(9)


def test_every_message_is_worked_on_once_by_any_number_of_processes(folder: Path) -> None:
    with Team(open_sums, folder, 3) as team:
        for workers in (1, 2, 3):
            for passes in (1, 4):
                task = Task(corpus="some", batch=4, passes=passes)
                counts, effort = team.measure(task, workers=workers)
                batches = sum(ceil(len(range(part, N, workers)) / 4) for part in range(workers))
                assert counts == Counts(verdicts=N, dead_letters=sum(range(N)), batches=batches)
                assert effort.wall_s > 0
        few, _ = team.measure(Task(corpus="some", messages_max=5))
        assert few == Counts(verdicts=5, dead_letters=sum(range(5)), batches=3)


def test_work_that_cannot_be_opened_says_why(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="make one"), Team(open_never, folder, 2):
        pass


def test_a_process_that_dies_is_no_silent_wait(folder: Path) -> None:
    with pytest.raises(TransientError, match="ended before"), Team(open_killed, folder, 2):
        pass


def test_the_memory_of_a_process_is_its_own_and_not_its_parent_s(folder: Path) -> None:
    ballast = np.ones(PARENT_BYTES // 8)
    with Team(open_sums, folder, 1) as team:
        team.measure(Task(corpus="some"))
        assert 1e6 < team.peak_bytes < PARENT_BYTES / 2
    assert ballast.nbytes == PARENT_BYTES


def test_the_memory_of_a_process_is_told_after_its_work(folder: Path) -> None:
    with Team(open_heavy, folder, 1) as team:
        team.measure(Task(corpus="some"))
        assert team.peak_bytes > WORK_BYTES
