# SPDX-License-Identifier: BSD-3-Clause
"""How much a run of the benchmark measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["FULL", "QUICK", "Plan", "Tell"]

Tell = Callable[[str], None]
"""Hears what is measured next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured.

    Parameters
    ----------
    repeats, least_s
        Measurements, of which the median counts, and how long each is at work.
    messages, packets_max
        Least messages of what a survey sends, more where whole batches of every process need more; packets
        that are read of a file.
    stage_messages, stage_repeats
        Messages of the batch that the stages are measured on, and least ones with histories of one length;
        rounds over the stages.
    lengths, batches
        Rows of history and sizes of a batch at which the growth of the cost is measured.
    offered_s
        How long a steady rate is sent through Kafka.
    baseline_batches
        Batches of the baseline in one measurement, each process.
    """

    repeats: int
    least_s: float
    messages: int
    packets_max: int | None
    stage_messages: int
    stage_repeats: int
    lengths: tuple[int, ...]
    batches: tuple[int, ...]
    offered_s: float
    baseline_batches: int = 1


FULL = Plan(
    repeats=3,
    least_s=0.5,
    messages=1024,
    packets_max=None,
    stage_messages=128,
    stage_repeats=3,
    lengths=(1, 3, 10, 30, 100, 300, 600),
    batches=(1, 8, 32, 128, 256, 512),
    offered_s=20.0,
)
"""A minute or so on two quiet cores; medians of three within a few percent of each other there."""

QUICK = Plan(
    repeats=1,
    least_s=0.0,
    messages=128,
    packets_max=72,
    stage_messages=32,
    stage_repeats=5,
    lengths=(1, 100),
    batches=(32, 64),
    offered_s=3.0,
)
"""Seconds: to see that everything works, and the order of magnitude."""
