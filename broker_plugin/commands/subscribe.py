# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin subscribe`: follow the output topic."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators
from rich.console import Console

from broker_plugin.codec.registry import SchemaRegistry
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.verdict import Verdict
from broker_plugin.commands.listing import Listing, make_listing
from broker_plugin.errors import ConfigurationError, RejectedAlert, TransientError
from broker_plugin.pipeline.backoff import Backoff
from broker_plugin.pipeline.selection import Selection, unknown_names
from broker_plugin.pipeline.verdict_reader import VerdictReader
from broker_plugin.records import SourceContext
from broker_plugin.service.application import sink_address
from broker_plugin.service.logging import configure_logging
from broker_plugin.service.settings_sources import load_settings
from broker_plugin.service.signals import stop_on_signal
from broker_plugin.settings import Settings
from broker_plugin.streams.base import Message
from broker_plugin.streams.kafka import KafkaAddress, KafkaSource, KafkaTail, StartPolicy
from broker_plugin.taxonomy import CLASSES

__all__ = ["CONNECT_S", "reading_address", "reading_schemas", "subscribe"]

POLL_S = 0.25
"""Longest wait in one poll; bounds how late Ctrl-C is noticed."""

POLL_MAX = 256

CONNECT_S = 20.0
"""Longest wait for the brokers and the topic."""

Count = Annotated[int | None, Parameter(validator=validators.Number(gte=1))]
Context = Literal["stellar", "galaxy_host", "solar_system", "artefact", "unknown", "any"]
Share = Annotated[float | None, Parameter(validator=validators.Number(gte=0, lte=1))]


def subscribe(
    *,
    bootstrap: str | None = None,
    topic: str | None = None,
    group: str | None = None,
    from_beginning: Annotated[bool, Parameter(negative="")] = False,
    strangest: Count = None,
    context: Context | None = None,
    classes: Annotated[tuple[str, ...] | None, Parameter(name="--class", negative="")] = None,
    min_probability: Share = None,
    max_p_value: Share = None,
    output_format: Annotated[Literal["table", "json"], Parameter(name="--format")] = "table",
    limit: Count = None,
    registry: str | None = None,
    config: Path | None = None,
) -> int:
    """Follow the verdicts on the output topic, all or those that are asked for.

    JSON has one verdict a line, with the field names of the schema. A class that no verdict can have is
    warned of: at once if this version knows no such class or kind, else with the first verdict.

        broker-plugin subscribe --bootstrap localhost:9092 --topic verdicts --strangest 10
        broker-plugin subscribe --config run.toml --class RRAB --class RRC --min-probability 0.8 --format json

    Parameters
    ----------
    bootstrap
        host:port of the Kafka cluster; by default the one that run writes to.
    topic
        Topic of verdicts; by default the output of run.
    group
        Consumer group: go on where it left off. Without one nothing is remembered.
    from_beginning
        Begin with the oldest verdict instead of with the next one.
    strangest
        Keep a ranking of the N objects with the smallest p-values since local noon. An object of an earlier
        night returns only if new data made it stranger. The table is shown as it changes, JSON at the end.
    context
        Only what the packet says is of this kind; by default stellar with --strangest, else any.
    classes
        Only this class; a catalogue's spelling or a kind of classes (pulsating) will do. May be repeated.
    min_probability
        Only if one of those classes is at least this probable, or the top class if none is named.
    max_p_value
        Only if the anomaly p-value is at most this.
    output_format
        A table for people, or JSON lines.
    limit
        Stop after so many verdicts that were asked for.
    registry
        URL of the schema registry, where the verdicts are framed.
    config
        The settings of run, a TOML file; the environment counts too.
    """
    settings = load_settings({}, config=config)
    configure_logging(level="warning")
    address = reading_address(settings, bootstrap)
    topic = topic or settings.output
    if not topic:
        raise ConfigurationError("no topic to follow; give --topic or ASTROM3_OUTPUT")
    reader = VerdictReader(reading_schemas(registry or settings.registry))
    selection = Selection(
        classes=classes or (),
        min_probability=min_probability,
        max_p_value=max_p_value,
        context=context or ("any" if strangest is None else SourceContext.STELLAR),
    )
    listing = make_listing(output_format, strangest, Console())
    for name in unknown_names(selection.classes):
        # A bundle may have classes of its own, so this cannot be an error.
        known = ", ".join(
            [*(entry.name for entry in CLASSES), *dict.fromkeys(entry.parent for entry in CLASSES)]
        )
        sys.stderr.write(f"broker-plugin: no class or kind {name!r} is known here; known are {known}\n")
    stop = threading.Event()
    source = _source(address, topic, group, from_beginning)
    with stop_on_signal(stop), closing(source):
        try:
            source.connect(deadline_s=CONNECT_S, stop=stop)
            with listing:
                _follow(source, reader, selection, listing, limit=limit, stop=stop)
        except BrokenPipeError:
            _discard_output()
    return 0


def _follow(
    source: KafkaSource | KafkaTail,
    reader: VerdictReader,
    selection: Selection,
    listing: Listing,
    *,
    limit: int | None,
    stop: threading.Event,
) -> None:
    left = float("inf") if limit is None else limit
    warned: set[str] = set()
    pauses = Backoff().pauses()
    while left > 0 and not stop.is_set():
        try:
            messages = source.poll(POLL_MAX, POLL_S)
            read = [(message, _read(reader, message.value, warned)) for message in messages]
        except TransientError as error:
            _warn(f"{error}; trying again", warned)
            stop.wait(next(pauses))
            continue
        seen: list[Message] = []
        for message, verdict in read:
            if left <= 0:
                break
            seen.append(message)
            if verdict is not None and _wanted(verdict, selection, warned):
                listing.add(verdict, datetime.now().astimezone())
                left -= 1
        listing.show()
        source.commit(seen)


def _wanted(verdict: Verdict, selection: Selection, warned: set[str]) -> bool:
    for name in selection.unknown(verdict):
        known = ", ".join(verdict.class_probabilities)
        _warn(f"no class {name!r} in the taxonomy {verdict.taxonomy}; there are {known}", warned)
    return selection.accepts(verdict)


def _read(reader: VerdictReader, value: bytes, warned: set[str]) -> Verdict | None:
    try:
        return reader.read(value)
    except RejectedAlert as rejection:
        _warn(f"a message was skipped: {rejection.detail}", warned)
        return None


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


def _source(
    address: KafkaAddress, topic: str, group: str | None, from_beginning: bool
) -> KafkaSource | KafkaTail:
    if group:
        reset: Literal["earliest", "latest"] = "earliest" if from_beginning else "latest"
        # A topic of verdicts keeps days: a reader who was away for longer goes on with what there is.
        start = StartPolicy(offset_reset=reset, on_lost="earliest")
        return KafkaSource(address, [topic], group=group, start=start)
    return KafkaTail(address, topic, from_beginning=from_beginning)


def _warn(text: str, warned: set[str]) -> None:
    if text not in warned:
        warned.add(text)
        sys.stderr.write(f"broker-plugin: {text}\n")


def _discard_output() -> None:
    # The reader of our pipe has gone. What is still buffered must not fail again when the process ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
