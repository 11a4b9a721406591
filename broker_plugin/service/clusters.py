# SPDX-License-Identifier: BSD-3-Clause
"""Whether input and output are one Kafka cluster, by what its brokers say: it may have many addresses."""

from __future__ import annotations

from broker_plugin.errors import ConfigurationError
from broker_plugin.settings import Settings
from broker_plugin.streams.topic_pattern import matching

__all__ = ["check_clusters", "further_topics"]


def check_clusters(settings: Settings, *, source: str, sink: str) -> None:
    """Refuse what cannot work on one cluster, or on two.

    Parameters
    ----------
    settings
        Of the service.
    source, sink
        Ids of the clusters that are read and written.

    Raises
    ------
    ConfigurationError
        If exactly-once is wanted over two clusters, or the service would read what it writes.
    """
    if source != sink:
        if settings.delivery == "exactly-once":
            raise ConfigurationError(
                f"exactly-once needs input and output on one cluster, since a Kafka transaction cannot span "
                f"two: {settings.bootstrap} is cluster {source}, {settings.sink_bootstrap} is cluster {sink}",
                remedy="leave out --output-bootstrap, or use --delivery at-least-once: its duplicates have "
                "the same verdict_id",
            )
        return
    written = [("--output", settings.output), ("--dead-letters", settings.dead_letters)]
    for name, topic in (*written, *further_topics(settings)):
        if matching(settings.topics, [topic]):
            raise ConfigurationError(
                f"{name} {topic} is among the input topics, so the service would read what it writes",
                remedy="name another topic or narrow --input",
            )


def further_topics(settings: Settings) -> list[tuple[str, str]]:
    """Return the topics beside verdicts and dead letters, by what an operator knows them as."""
    named = [
        ("--ledger", settings.ledger),
        ("--embeddings", settings.embeddings),
        ("--shadow-topic", settings.shadow_topic),
    ]
    named += [("the topic of [[routes]]", route.topic) for route in settings.routes]
    return [(name, topic) for name, topic in named if topic]
