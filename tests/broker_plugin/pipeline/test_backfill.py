# SPDX-License-Identifier: BSD-3-Clause
"""Whatever becomes of a worker, its parent is not left waiting for it."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import psutil
import pytest

from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import ConfigurationError, TransientError
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.backfill import BATCH, open_backfill
from broker_plugin.streams.base import Message
from broker_plugin.streams.memory import MemorySource
from tests.broker_plugin.codec.registry_server import Answers, answering
from tests.support.process import wait_until

RECIPE = FilterRecipe(bundle="default", device="cpu", surveys=("ztf",))

LONG = b"junk" * 1_000
"""A batch of such messages is larger than what a pipe holds, so that an answer stops in its midst."""


def junk(n: int) -> Iterator[Message]:
    return (Message(topic="t", partition=0, offset=number, value=LONG) for number in range(n))


class SlowSource(MemorySource):
    """One that takes so long that a worker who cannot go on is gone by the next batch."""

    def poll(self, batch_max: int, timeout_s: float) -> Sequence[Message]:
        time.sleep(0.3)
        return super().poll(batch_max, timeout_s)


def all_wait(processes: Sequence[multiprocessing.process.BaseProcess]) -> bool:
    """Tell whether none has anything to do, however little the machine lets them do."""
    looked_at = [psutil.Process(process.pid) for process in processes]
    for _ in range(10):
        if any(each.status() != psutil.STATUS_SLEEPING for each in looked_at):
            return False
        time.sleep(0.05)
    return True


def test_a_worker_that_is_killed_in_the_midst_of_an_answer_is_missed_at_once() -> None:
    source = MemorySource(list(junk(40 * BATCH)))
    with open_backfill(RECIPE, workers=2) as backfill:
        judged = backfill.judge(source)
        next(judged)
        workers = multiprocessing.active_children()
        wait_until(lambda: all_wait(workers), timeout_s=60, what="both wait for us to read")
        for worker in workers:
            worker.kill()
        with pytest.raises(TransientError, match="fewer --workers"):
            list(judged)
    assert not multiprocessing.active_children()


def test_what_ended_a_worker_is_said_though_it_is_noticed_later() -> None:
    with answering(Answers(status=401)) as registry:
        recipe = replace(RECIPE, input_registry=registry.url)

        framed = [
            Message(topic="t", partition=0, offset=number, value=b"\0\0\0\0\5framed")
            for number in range(8 * BATCH)
        ]
        with open_backfill(recipe, workers=2) as backfill, pytest.raises(ConfigurationError, match="401"):
            list(backfill.judge(SlowSource(framed)))


def test_what_a_worker_cannot_open_is_said_by_its_parent() -> None:
    recipe = FilterRecipe(bundle="nowhere", device="cpu", surveys=("ztf",))
    with pytest.raises(ConfigurationError, match="nowhere"), open_backfill(recipe, workers=2):
        pytest.fail("it cannot be opened")
    assert not multiprocessing.active_children()


class ToldRecipe(FilterRecipe):
    """Tells which worker makes it."""

    def scorer(self) -> Scorer:
        os.write(2, f"worker {self.worker}\n".encode())
        return FilterRecipe.scorer(self)


def test_every_worker_knows_its_number_among_those_that_share_the_gpus(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with open_backfill(ToldRecipe(device="cpu", surveys=("ztf",)), workers=2):
        pass
    assert sorted(capfd.readouterr().err.splitlines()) == ["worker 0", "worker 1"]


def test_every_worker_is_prepared(capfd: pytest.CaptureFixture[str]) -> None:
    with open_backfill(RECIPE, workers=2, prepare=partial(os.write, 2, b"ready\n")):
        pass
    assert capfd.readouterr().err.count("ready\n") == 2
