# SPDX-License-Identifier: BSD-3-Clause
"""How the topics that the service writes should be made."""

from __future__ import annotations

from broker_plugin.settings import Settings
from broker_plugin.streams.kafka_topics import TopicPlan

__all__ = ["topic_plans"]

DAY_MS = 86_400_000

VERDICT_DAYS = 7
"""A reader that was away over a weekend still finds all; ten million verdicts of 4 kB are 40 GB a night."""

CANDIDATE_DAYS = 28
"""Until the next observing run; they are few."""

DEAD_LETTER_DAYS = 30
"""Time to find a defect, mend it, and replay."""

EMBEDDING_DAYS = 3
"""Bulk: 10 GB a night in float16."""

FEW = 1
"""Partitions of topics with few messages, which one reader follows: then they are in order as well."""

WIRE_ROOM_BYTES = 65_536
"""What a broker counts around a message: the batch, its headers, its key."""


def topic_plans(settings: Settings, *, partitions: int, replicas: int | None = None) -> list[TopicPlan]:
    """Return the topics of these settings, each once.

    Parameters
    ----------
    settings
        As for `broker-plugin run`.
    partitions
        Of the busy topics.
    replicas
        Copies of each partition; None for what the cluster does by itself.
    """
    letters = {"max.message.bytes": str(settings.dead_letters_max_bytes + WIRE_ROOM_BYTES)}
    plans = [
        _kept(settings.output, partitions, VERDICT_DAYS),
        _kept(settings.dead_letters, FEW, DEAD_LETTER_DAYS, letters),
        *(_kept(route.topic, FEW, CANDIDATE_DAYS) for route in settings.routes),
    ]
    if settings.shadow_topic:
        plans.append(_kept(settings.shadow_topic, partitions, VERDICT_DAYS))
    if settings.embeddings:
        plans.append(_kept(settings.embeddings, partitions, EMBEDDING_DAYS))
    if settings.ledger:
        plans.append(TopicPlan(name=settings.ledger, partitions=FEW, config={"cleanup.policy": "compact"}))
    return [
        TopicPlan(name=plan.name, partitions=plan.partitions, replicas=replicas, config=plan.config)
        for plan in {plan.name: plan for plan in reversed(plans)}.values()
    ][::-1]


def _kept(name: str, partitions: int, days: int, config: dict[str, str] | None = None) -> TopicPlan:
    kept = {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS)}
    return TopicPlan(name=name, partitions=partitions, config=kept | (config or {}))
