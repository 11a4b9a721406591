# SPDX-License-Identifier: BSD-3-Clause
"""Subscriptions opened: where verdicts or candidates come from, and what of them is wanted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, Unpack

from broker_plugin.bundle import MANIFEST, installed_bundles
from broker_plugin.client.candidate import Candidate, candidate_of_record
from broker_plugin.client.conditions import Conditions
from broker_plugin.client.memory import CHANGE_FACTOR, ObjectMemory
from broker_plugin.client.options import Options, checked_options
from broker_plugin.client.subscription import Item, Subscription, warn_in_log
from broker_plugin.client.watch import WatchList
from broker_plugin.client.watch_files import read_watch_list
from broker_plugin.codec.registry import SchemaRegistry
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.verdict import Verdict
from broker_plugin.errors import ConfigurationError
from broker_plugin.instants import milliseconds, parse_moment
from broker_plugin.pipeline.selection import ANY_CONTEXT, Selection, unknown_names
from broker_plugin.pipeline.verdict_reader import RecordReader, verdict_of_record
from broker_plugin.records import SourceContext
from broker_plugin.service.addresses import sink_address
from broker_plugin.service.logging import log_as_a_library
from broker_plugin.service.settings_sources import load_settings
from broker_plugin.settings import Settings
from broker_plugin.streams.kafka import KafkaAddress, KafkaSource, KafkaTail, StartPolicy
from broker_plugin.streams.topic_pattern import require_name
from broker_plugin.taxonomy import CLASSES

__all__ = [
    "CONNECT_S",
    "reading_address",
    "reading_schemas",
    "subscribe",
    "subscribe_to_candidates",
]

CONNECT_S = 20.0
"""Longest wait for the brokers and the topic."""


def subscribe(topic: str | None = None, **options: Unpack[Options]) -> Subscription[Verdict]:
    """Subscribe to verdicts; iterate over what is returned.

    Each option is checked: a name that is none, or a value that cannot work, is refused.

    Parameters
    ----------
    topic
        Topic of verdicts; by default the output of `run`.
    options
        See `Options`.

    Raises
    ------
    ConfigurationError, TransientError
        If the options cannot work, or the cluster does not answer.

    Examples
    --------
    ::

        with subscribe("verdicts", bootstrap="localhost:9092", group="mine", classes=["RRAB"]) as verdicts:
            for verdict in verdicts:
                print(verdict.object_id, verdict.anomaly_p_value)

    >>> subscribe(bootstrap="localhost:9092")
    Traceback (most recent call last):
    broker_plugin.errors.ConfigurationError: no topic to follow; give --topic or ASTROM3_OUTPUT
    """
    return _open(verdict_of_record, lambda verdict: verdict, topic, options)


def subscribe_to_candidates(topic: str, **options: Unpack[Options]) -> Subscription[Candidate]:
    """Subscribe to the candidates of a route, which come with their light curves.

    Parameters
    ----------
    topic
        Topic of candidates.
    options
        See `Options`.

    Examples
    --------
    ::

        with subscribe_to_candidates("candidates", bootstrap="localhost:9092", only="new") as candidates:
            for candidate in candidates:
                print(candidate.verdict.object_id, len(candidate.light_curve))
    """
    return _open(candidate_of_record, attrgetter("verdict"), topic, options)


def reading_address(settings: Settings, bootstrap: str | None) -> KafkaAddress:
    """Return the cluster that verdicts are read from: the given one, else the one that run writes to.

    Raises
    ------
    ConfigurationError
        If neither is known.
    """
    given = sink_address(settings)
    if not (bootstrap or given.bootstrap):
        raise ConfigurationError("no cluster to read from; give --bootstrap or ASTROM3_BOOTSTRAP")
    address = replace(given, bootstrap=bootstrap or given.bootstrap)
    return address.credentials_only()


def reading_schemas(registry: str | None) -> SchemaStore:
    """Return where the schemas of framed verdicts come from."""
    return SchemaStore(SchemaRegistry(registry) if registry else None, installed=False)


def _open(
    of_record: Callable[[Mapping[str, Any]], Item],
    verdict_of: Callable[[Item], Verdict],
    topic: str | None,
    given: Options,
) -> Subscription[Item]:
    log_as_a_library()
    options = checked_options(given)
    config = options.get("config")
    settings = load_settings({}, config=Path(config) if config else None)
    topic = topic or settings.output
    if not topic:
        raise ConfigurationError("no topic to follow; give --topic or ASTROM3_OUTPUT")
    require_name(topic)
    if options.get("group") and options.get("group") == settings.group:
        raise ConfigurationError(
            f"{settings.group} is the group of the service, which would share its partitions",
            remedy="take a group of your own",
        )
    stop, warn = options.get("stop") or threading.Event(), options.get("warn", warn_in_log)
    conditions = _conditions(options, warn)
    for text in _doubts(conditions, options):
        warn(text)
    address = reading_address(settings, options.get("bootstrap"))
    schemas = reading_schemas(options.get("registry") or settings.registry)
    memory = ObjectMemory(options.get("memory"))
    source = _source(address, topic, options)
    try:
        source.connect(deadline_s=CONNECT_S, stop=stop)
    except BaseException:
        source.close()
        memory.close()
        raise
    return Subscription(
        source,
        RecordReader(schemas, of_record).read,
        verdict_of=verdict_of,
        conditions=conditions,
        memory=memory,
        limit=options.get("limit"),
        timeout_s=options.get("timeout_s"),
        stop=stop,
        warn=warn,
        after_poll=options.get("after_poll", lambda: None),
    )


def _conditions(options: Options, warn: Callable[[str], None]) -> Conditions:
    strangest = options.get("strangest")
    usual = ANY_CONTEXT if strangest is None else SourceContext.STELLAR
    return Conditions(
        selection=Selection(
            classes=tuple(options.get("classes") or ()),
            min_probability=options.get("min_probability"),
            max_p_value=options.get("max_p_value"),
            min_brightening_mag=options.get("min_brightening_mag"),
            context=options.get("context") or usual,
        ),
        watch=_watch_list(options.get("watch"), warn),
        only=options.get("only", "all"),
        change_factor=options.get("change_factor", CHANGE_FACTOR),
        retractions=options.get("retractions", "told"),
        strangest=strangest,
        ranked_from_start=options.get("from_beginning", False) or options.get("since") is not None,
        tense=options.get("tense", "current"),
    )


def _watch_list(given: WatchList | Path | str | None, warn: Callable[[str], None]) -> WatchList | None:
    return read_watch_list(given, warn=warn) if isinstance(given, Path | str) else given


def _doubts(conditions: Conditions, options: Options) -> Iterator[str]:
    for name in unknown_names(conditions.selection.classes):
        # A bundle may have classes of its own, so this cannot be an error.
        known = ", ".join(
            [*(entry.name for entry in CLASSES), *dict.fromkeys(entry.parent for entry in CLASSES)]
        )
        yield f"no class or kind {name!r} is known here; known are {known}{_not_in_default()}"
    forgotten = [f"which objects are {conditions.only}"] if conditions.only != "all" else []
    if not conditions.every_retraction_fits:
        forgotten.append("what was told, whose retractions may then not come,")
    if forgotten and options.get("group") and not options.get("memory"):
        yield f"{' and '.join(forgotten)} is forgotten at the end; give a file for the memory"


def _not_in_default() -> str:
    """Return what there is to say of classes that no verdict of the default bundle can have."""
    manifest = json.loads((installed_bundles()["default"] / MANIFEST).read_bytes())
    lacking = [entry.name for entry in CLASSES if entry.name not in manifest["classes"]]
    return f"; the default bundle has no {', no '.join(lacking)}" if lacking else ""


def _source(address: KafkaAddress, topic: str, options: Options) -> KafkaSource | KafkaTail:
    group, from_beginning = options.get("group"), options.get("from_beginning", False)
    since = options.get("since")
    moment = parse_moment(since) if isinstance(since, str) else since
    if from_beginning and moment is not None:
        raise ConfigurationError(
            "to begin at the beginning and to begin since a moment exclude each other", remedy="leave one out"
        )
    since_ms = None if moment is None else milliseconds(moment)
    if group:
        reset: Literal["earliest", "latest"] = "earliest" if from_beginning else "latest"
        # A topic of verdicts keeps days: a reader who was away for longer goes on with what there is.
        start = StartPolicy(offset_reset=reset, on_lost="earliest", start_at_ms=since_ms)
        return KafkaSource(address, [topic], group=group, start=start)
    return KafkaTail(address, topic, from_beginning=from_beginning, since_ms=since_ms)
