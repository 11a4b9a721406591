# SPDX-License-Identifier: BSD-3-Clause
"""What the service writes beside verdicts and dead letters, put together from its settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import structlog

from broker_plugin.codec.registry import SchemaRegistry, frame
from broker_plugin.codec.topic_schema import EncodeRecord, topic_schema
from broker_plugin.engine.opening import OpeningAbandonedError
from broker_plugin.errors import TransientError
from broker_plugin.pipeline.backoff import Backoff
from broker_plugin.pipeline.ledger import Ledger
from broker_plugin.pipeline.routing import EmbeddingTopic, Route
from broker_plugin.pipeline.selection import Selection, unknown_names
from broker_plugin.settings import Settings
from broker_plugin.streams.ownership import Place

__all__ = [
    "open_embeddings",
    "open_ledger",
    "open_routes",
    "patiently",
    "record_encoding",
    "written_topics",
]

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


def written_topics(settings: Settings) -> list[str]:
    """Return the topics that the service writes, which must be there."""
    candidates = (route.topic for route in settings.routes)
    named = (settings.output, settings.dead_letters, settings.ledger, settings.shadow_topic)
    return list(dict.fromkeys(filter(None, (*named, settings.embeddings, *candidates))))


def open_ledger(
    settings: Settings, stop: threading.Event, *, ends_reached: Callable[[], Mapping[Place, int]]
) -> Ledger | None:
    """Return the ledger, if there is to be one; `ends_reached` is its source's."""
    if not settings.ledger:
        return None
    return Ledger(
        settings.ledger,
        survey=str(settings.survey),
        group=settings.group,
        output=settings.output,
        dead_letters=settings.dead_letters,
        encode=record_encoding(settings, stop, topic=settings.ledger, schema="ledger.v1"),
        ends_reached=ends_reached,
    )


def open_routes(settings: Settings, stop: threading.Event) -> list[Route]:
    """Return what chooses candidates."""
    encodings = {
        topic: record_encoding(settings, stop, topic=topic, schema="candidate.v1")
        for topic in dict.fromkeys(route.topic for route in settings.routes)
    }
    routes = []
    for table in settings.routes:
        for name in unknown_names(table.classes):
            # A bundle may have classes of its own, so this cannot be an error.
            log.warning("route_of_unknown_class", topic=table.topic, name=name)
        selection = Selection(
            classes=table.classes,
            min_probability=table.min_probability,
            max_p_value=table.max_p_value,
            min_brightening_mag=table.min_brightening_mag,
            context=table.context,
        )
        name = table.name or table.topic
        encode = encodings[table.topic]
        routes.append(Route(name=name, topic=table.topic, selection=selection, encode=encode))
    return routes


def open_embeddings(settings: Settings, stop: threading.Event) -> EmbeddingTopic | None:
    """Return where the embeddings go, if anywhere."""
    if not settings.embeddings:
        return None
    return EmbeddingTopic(
        topic=settings.embeddings,
        number_format=settings.embeddings_format,
        encode=record_encoding(settings, stop, topic=settings.embeddings, schema="embedding.v1"),
    )


def record_encoding(settings: Settings, stop: threading.Event, *, topic: str, schema: str) -> EncodeRecord:
    """Return how the records of a topic become bytes: framed where there is a registry, else by themselves.

    Raises
    ------
    ConfigurationError, TransientError
        If the registry refuses the schema, or does not answer in time.
    """
    wanted = topic_schema(schema)
    if not settings.registry:
        return wanted.container
    registry, subject = SchemaRegistry(settings.registry), f"{topic}-value"
    schema_id = patiently(partial(registry.register_schema, subject, wanted.text), settings, stop)
    log.info("schema_registered", subject=subject, schema_id=schema_id)
    return lambda record: frame(schema_id, wanted.datum(record))


def patiently(step: Callable[[], Result], settings: Settings, stop: threading.Event) -> Result:
    """Take a step of the start, again while what it asks is away and the start's deadline has not passed.

    Raises
    ------
    TransientError
        If it is away for longer.
    OpeningAbandonedError
        If it is away when the stop event is set.
    """
    waited_s = 0.0
    for pause_s in Backoff(cap_s=5.0).pauses():
        try:
            return step()
        except TransientError as error:
            if stop.is_set():
                log.info("start_abandoned", why=str(error))
                raise OpeningAbandonedError from error
            if waited_s > settings.start_deadline_s:
                raise
            log.warning("waiting_at_start", why=str(error))
        stop.wait(pause_s)
        waited_s += pause_s
    raise AssertionError("the pauses never end")
