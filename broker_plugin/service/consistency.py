# SPDX-License-Identifier: BSD-3-Clause
"""What the settings must have between them before the service may start, and the rights they declare."""

from __future__ import annotations

from broker_plugin.errors import ConfigurationError
from broker_plugin.instants import parse_moment
from broker_plugin.pipeline.assembly import parse_access, parse_dead_letter_access, parse_reasons
from broker_plugin.pipeline.memory import MemoryRecipe
from broker_plugin.service.addresses import sink_address, source_address
from broker_plugin.service.clusters import check_clusters, further_topics
from broker_plugin.settings import Settings
from broker_plugin.store.history import HistoryBounds
from broker_plugin.streams.topic_pattern import is_pattern, portable, require_name

__all__ = ["check_service", "hosts", "store_recipe"]

REQUIRED = ("survey", "bootstrap", "input", "output", "dead_letters", "group")
"""What the service cannot guess."""


PORT_MAX = 65_535


def check_service(settings: Settings) -> None:
    """Refuse settings with which the service could not keep its promises.

    Raises
    ------
    ConfigurationError
        Naming what is missing, or which settings contradict one another.
    """
    settings.require(*REQUIRED)
    source_address(settings)
    sink_address(settings)
    _check_topics(settings)
    store_recipe(settings)
    parse_access(settings.access)
    parse_dead_letter_access(settings.dead_letters_access)
    parse_reasons(settings.accept_rejects)
    _check_start(settings)
    _check_workers(settings)
    if _one_address(settings):
        check_clusters(settings, source=settings.bootstrap, sink=settings.bootstrap)
    # Of two addresses only the brokers know whether they are one cluster: asked when both are connected.


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
    for topic in settings.topics:
        if is_pattern(topic):
            portable(topic)
    if settings.output == settings.dead_letters:
        raise ConfigurationError("--output and --dead-letters are one topic", remedy="give each its own")
    _check_shadow(settings)
    further = set(further_topics(settings))  # two routes may share a topic
    inputs = [topic for topic in settings.topics if not is_pattern(topic)]
    for topic in (*inputs, settings.output, settings.dead_letters, *(topic for _, topic in further)):
        require_name(topic)
    for name, topic in sorted(further):
        others = [settings.output, settings.dead_letters, *(t for n, t in further if n != name)]
        if topic in others:
            raise ConfigurationError(f"{name} {topic} is a topic of something else", remedy="give it its own")


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
        similar_hours=settings.similar_hours,
    )


def _check_start(settings: Settings) -> None:
    if settings.start_at:
        parse_moment(settings.start_at)
    elif settings.force_start:
        raise ConfigurationError("--force-start moves a group to --start-at", remedy="give that too")


def _check_workers(settings: Settings) -> None:
    if settings.workers > 1 and settings.force_start:
        raise ConfigurationError(
            "--force-start moves the group at each process's start", remedy="move it with --workers 1 first"
        )
    if settings.metrics_port and settings.metrics_port + settings.workers - 1 > PORT_MAX:
        raise ConfigurationError(
            f"--metrics-port {settings.metrics_port} leaves no room for one port a worker",
            remedy="choose a lower one",
        )


def _one_address(settings: Settings) -> bool:
    return hosts(settings.sink_bootstrap) == hosts(settings.bootstrap)
