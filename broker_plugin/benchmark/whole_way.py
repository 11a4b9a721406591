# SPDX-License-Identifier: BSD-3-Clause
"""From bytes to encoded verdicts, as the service does it between its consumer and its producer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from broker_plugin.benchmark.measuring import Rate, median_rate
from broker_plugin.benchmark.team import Counts, Task, Team, Work
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.lasting import take_for_lasting
from broker_plugin.pipeline.outbox import Outbox
from broker_plugin.service.logging import configure_logging
from broker_plugin.streams.base import Message

__all__ = ["measure_team", "messages_of", "open_whole_way"]

VERDICTS, DEAD_LETTERS = "verdicts", "dead-letters"


def open_whole_way(recipe: FilterRecipe) -> Work:
    """Return the work of the service: a batch of messages in, its verdicts out as bytes."""
    configure_logging(level="error")
    scorer = recipe.scorer()
    scorer.warm_up()
    judge = recipe.filter(scorer)
    outbox = Outbox(VERDICTS, DeadLetters(topic=DEAD_LETTERS))
    take_for_lasting()

    def work(values: Sequence[bytes]) -> Counts:
        parcels = outbox.pack(judge.judge(messages_of(values)))
        topics = [content.topic for parcel in parcels for content in parcel.contents]
        return Counts(verdicts=topics.count(VERDICTS), dead_letters=topics.count(DEAD_LETTERS))

    return work


def messages_of(values: Sequence[bytes]) -> list[Message]:
    """Return bytes as messages of one partition."""
    return [
        Message(topic="alerts", partition=0, offset=offset, value=value)
        for offset, value in enumerate(values)
    ]


def measure_team(
    team: Team, task: Task, *, repeats: int, least_s: float, workers: int | None = None
) -> tuple[Counts, Rate]:
    """Return what became of a corpus, and the rate at which a team works on it, once it is warm.

    Parameters
    ----------
    repeats, least_s
        Measurements, and how long each is to take: the corpus is gone through so often.
    workers
        How many of the team work; by default all.
    """
    counts, first = team.measure(task, workers=workers)
    many = replace(task, passes=max(1, ceil(least_s / first.wall_s)))
    efforts = [team.measure(many, workers=workers)[1] for _ in range(repeats)]
    return counts, median_rate(counts.verdicts + counts.dead_letters, efforts)
