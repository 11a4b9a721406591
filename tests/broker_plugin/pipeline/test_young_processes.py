# SPDX-License-Identifier: BSD-3-Clause
"""What is sent to all processes at once does not end the ones that judge, however new they are."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from structlog.testing import capture_logs

from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.backfill import open_backfill
from broker_plugin.pipeline.shadow import Shadow, ShadowRecipe
from broker_plugin.streams.base import Message
from broker_plugin.streams.kafka import KafkaAddress
from broker_plugin.streams.memory import MemorySource
from tests.support.process import LOOPBACK, wait_until

RECIPE = FilterRecipe(bundle="default", device="cpu", surveys=("ztf",))

OPEN_S = 60.0
"""Opening a bundle takes two seconds on a free core."""


@contextmanager
def signalled(numbers: Sequence[signal.Signals]) -> Iterator[set[int]]:
    """Send signals to each process that is started in the block as soon as it is there."""
    others = {process.pid for process in multiprocessing.active_children()}
    hit: set[int] = set()
    over = threading.Event()

    def strike() -> None:
        while not over.wait(0.001):
            for process in multiprocessing.active_children():
                if process.pid is not None and process.pid not in others | hit:
                    hit.add(process.pid)
                    for number in numbers:
                        os.kill(process.pid, number)

    thread = threading.Thread(target=strike)
    thread.start()
    try:
        yield hit
    finally:
        over.set()
        thread.join()


def test_a_shadow_outlives_the_signals_that_stop_the_service() -> None:
    address = KafkaAddress(bootstrap=f"{LOOPBACK}:9")  # nothing is sent
    recipe = ShadowRecipe(recipe=RECIPE, topic="shadow", address=address)

    def said(event: str) -> bool:
        return any(each["event"] == event for each in logs)

    all_of_them = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    with capture_logs() as logs, signalled(all_of_them) as hit, Shadow(recipe):
        wait_until(lambda: said("shadow_opened") or said("shadow_failed"), what="it", timeout_s=OPEN_S)
    assert len(hit) == 1
    assert not said("shadow_failed")


def test_a_worker_of_a_replay_leaves_ctrl_c_to_its_parent() -> None:
    junk = [Message(topic="t", partition=0, offset=number, value=b"junk") for number in range(3)]
    with signalled((signal.SIGINT,)) as hit, open_backfill(RECIPE, workers=2) as backfill:
        (judged,) = backfill.judge(MemorySource(junk))
    assert hit
    assert [judgement.message.offset for judgement in judged] == [0, 1, 2]
