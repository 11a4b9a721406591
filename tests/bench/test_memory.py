# SPDX-License-Identifier: BSD-3-Clause
"""A process that judges a million alerts takes no more memory in the end than at the beginning."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.batcher import Batcher
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.monitor import BatchOutcome
from broker_plugin.pipeline.outbox import Outbox
from broker_plugin.pipeline.runner import Runner
from broker_plugin.service.logging import configure_logging
from broker_plugin.streams.base import OutgoingMessage
from tests.bench.repeats import Repeats, read_packets

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]

ALERTS = 1_000_000
BATCH = 256
EVERY = 50_000
"""Alerts between two looks at the memory."""

SETTLED = 100_000
"""Alerts after which buffers have found their size."""

GROWTH_MAX_BYTES = 40e6
"""A hundred bytes kept of each alert would be twice that."""

RESIDENT_MAX_BYTES = 1.5e9


class Nowhere:
    """A sink that counts what it is sent, and keeps nothing."""

    def __init__(self) -> None:
        self.sent = 0

    def send(self, messages: Sequence[OutgoingMessage]) -> None:
        self.sent += len(messages)

    def close(self) -> None:
        """Do nothing."""


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_million_alerts_leave_nothing_behind(data_dir: Path) -> None:
    configure_logging(level="error")
    packets = read_packets(data_dir)
    recipe = FilterRecipe(device="cpu")
    scorer = recipe.scorer()
    scorer.warm_up()
    seen: list[tuple[int, int]] = []
    keys: set[str] = set()
    done = 0

    def look(outcome: BatchOutcome) -> None:
        nonlocal done
        done += len(outcome.judgements)
        if done < 2 * len(packets):
            keys.update(verdict.alert_key for verdict in outcome.verdicts)
        if done // EVERY > len(seen):
            seen.append((done, resident_bytes()))

    sink, begun = Nowhere(), time.perf_counter()
    Runner(
        Repeats(packets, ALERTS),
        sink,
        recipe.filter(scorer),
        Outbox("verdicts", DeadLetters(topic="dead")),
        batcher=Batcher(batch_max=BATCH),
        on_batch=look,
    ).run()
    rate = ALERTS / (time.perf_counter() - begun)
    megabytes = ", ".join(f"{resident / 1e6:.0f}" for _, resident in seen)
    Console().print(f"{rate:,.0f} alerts/s; resident MB every {EVERY:,} alerts: {megabytes}", soft_wrap=True)
    assert sink.sent == done == ALERTS
    assert len(keys) > len(packets), "the ids are not new"
    settled = [resident for alerts, resident in seen if alerts >= SETTLED]
    assert max(settled) < RESIDENT_MAX_BYTES
    assert max(settled) - settled[0] < GROWTH_MAX_BYTES
