# SPDX-License-Identifier: BSD-3-Clause
"""What the settings must have between them before the service may start, and the rights they declare."""

from __future__ import annotations

import re
from collections.abc import Iterable

from broker_plugin.errors import ConfigurationError
from broker_plugin.pipeline.assembly import parse_access, parse_dead_letter_access, parse_reasons
from broker_plugin.pipeline.memory import MemoryRecipe
from broker_plugin.settings import Settings
from broker_plugin.store.history import HistoryBounds

__all__ = ["check_service", "hosts", "store_recipe"]

REQUIRED = ("survey", "bootstrap", "input", "output", "dead_letters", "group")
"""What the service cannot guess."""


def check_service(settings: Settings) -> None:
    """Refuse settings with which the service could not keep its promises.

    Raises
    ------
    ConfigurationError
        Naming what is missing, or which settings contradict one another.
    """
    settings.require(*REQUIRED)
    _check_topics(settings)
    store_recipe(settings)
    parse_access(settings.access)
    parse_dead_letter_access(settings.dead_letters_access)
    parse_reasons(settings.accept_rejects)
    if settings.delivery == "exactly-once" and not _one_cluster(settings):
        raise ConfigurationError(
            "exactly-once needs input and output on one cluster, since a Kafka transaction cannot span two",
            remedy=(
                "leave out --output-bootstrap, or use --delivery at-least-once: its duplicates "
                "have the same verdict_id"
            ),
        )


def hosts(bootstrap: str) -> frozenset[str]:
    """Return the brokers of a bootstrap address.

    Examples
    --------
    >>> hosts("a:9092, B:9092") == hosts("b:9092,a:9092")
    True
    """
    return frozenset(host.strip().lower() for host in bootstrap.split(",") if host.strip())


def _check_shadow(settings: Settings) -> None:
    if bool(settings.shadow) != bool(settings.shadow_topic):
        raise ConfigurationError(
            "a shadow needs a bundle and a topic", remedy="give --shadow and --shadow-topic, or neither"
        )
    if settings.shadow_topic and settings.shadow_topic in (
        settings.output,
        settings.dead_letters,
        settings.ledger,
    ):
        raise ConfigurationError("--shadow-topic is a topic of something else", remedy="give it its own")


def _check_topics(settings: Settings) -> None:
    if settings.output == settings.dead_letters:
        raise ConfigurationError("--output and --dead-letters are one topic", remedy="give each its own")
    _check_shadow(settings)
    further = set(_further_topics(settings))  # two routes may share a topic
    for name, topic in sorted(further):
        others = [settings.output, settings.dead_letters, *(t for n, t in further if n != name)]
        if topic in others:
            raise ConfigurationError(f"{name} {topic} is a topic of something else", remedy="give it its own")
    written = [("--output", settings.output), ("--dead-letters", settings.dead_letters)]
    for name, topic in (*written, *_further_topics(settings)):
        if _one_cluster(settings) and _subscribed(topic, settings.topics):
            raise ConfigurationError(
                f"{name} {topic} is among the input topics, so the service would read what it writes",
                remedy="name another topic or narrow --input",
            )


def store_recipe(settings: Settings) -> MemoryRecipe | None:
    """Return what is to be remembered of objects, None for nothing.

    Raises
    ------
    ConfigurationError
        If the setting names no store that we know.
    """
    return MemoryRecipe.of(
        settings.store,
        timeout_s=settings.store_timeout_s,
        max_bytes=settings.store_max_bytes,
        bounds=HistoryBounds(epochs_max=settings.history_epochs_max, days=settings.history_days),
        context_radius_arcsec=settings.context_radius_arcsec,
    )


def _further_topics(settings: Settings) -> list[tuple[str, str]]:
    """Return the topics beside verdicts and dead letters, by what an operator knows them as."""
    named = [
        ("--ledger", settings.ledger),
        ("--embeddings", settings.embeddings),
        ("--shadow-topic", settings.shadow_topic),
    ]
    named += [("the topic of [[routes]]", route.topic) for route in settings.routes]
    return [(name, topic) for name, topic in named if topic]


def _one_cluster(settings: Settings) -> bool:
    return hosts(settings.sink_bootstrap) == hosts(settings.bootstrap)


def _subscribed(topic: str, patterns: Iterable[str]) -> bool:
    try:
        return any(
            re.match(pattern, topic) is not None if pattern.startswith("^") else pattern == topic
            for pattern in patterns
        )
    except re.error as error:
        raise ConfigurationError(f"--input is not a regular expression: {error}") from error
