# SPDX-License-Identifier: BSD-3-Clause
"""From one process of the group to four the rate grows in proportion, as long as there is processor time.

Two cores hold no four processes and a broker. So each process is let run for a quarter of the time, in turn
with the others, as if it were alone on a core of a quarter of the speed: what keeps four of them from four
times the rate of one is then what they share, and not that the cores have ended.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker_plugin.benchmark.kafka_group import QUIET_S, Stream, warm_group
from broker_plugin.streams.kafka import KafkaAddress
from tests.e2e.service import ztf_packets
from tests.support.cluster import KafkaCluster

pytestmark = [pytest.mark.bench, pytest.mark.service, pytest.mark.timeout(1800)]

SLOTS = 4

SLOT_S = 0.05
"""Long beside a change of processes, and short beside what the broker waits for."""

EACH = 1500
"""Alerts of a process."""

SHARE_MIN = 0.75
"""Of the proportional rate: a broker and whoever else uses the machine take their turn in a slot."""


@contextmanager
def in_turn(pids: Sequence[int]) -> Iterator[None]:
    """Let each process run in its slot only."""
    over = threading.Event()

    def turn() -> None:
        while not over.is_set():
            for slot in range(SLOTS):
                pid = pids[slot] if slot < len(pids) else None
                if pid is not None:
                    os.kill(pid, signal.SIGCONT)
                time.sleep(SLOT_S)
                if pid is not None:
                    os.kill(pid, signal.SIGSTOP)

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_four_processes_do_four_times_as_much_as_one(
    kafka_broker: KafkaCluster, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = Stream(
        address=KafkaAddress(bootstrap=kafka_broker.bootstrap),
        values=ztf_packets(data_dir)[-1500:],
        settings={"survey": "ztf", "device": "cpu"},
    )
    rates, costs_us = [], []
    for workers in range(1, SLOTS + 1):
        with warm_group(stream, workers, tell=lambda _: None, cores=[0]) as (feed, members):
            with members.held():
                feed.send(EACH * workers)
            begun = time.time()
            with in_turn(members.pids):
                progress = members.progress(EACH * workers, quiet_s=QUIET_S)
            assert len(progress.message_s) == EACH * workers
            rates.append(EACH * workers / (float(progress.delivered_s.max()) - begun))
            costs_us.append(1e6 * progress.cpu_s / (EACH * workers))
    table = [
        f"{n} processes: {rate:,.0f} alerts/s, {rate / rates[0]:.2f} times one, {cost:.0f} us an alert"
        for n, (rate, cost) in enumerate(zip(rates, costs_us, strict=True), 1)
    ]
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *table, ""]))
    for workers, rate in enumerate(rates, 1):
        assert rate > SHARE_MIN * workers * rates[0], table
