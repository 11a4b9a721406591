# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin feed`: alerts for an input topic of one's own, to try the service on."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from broker_plugin.codec.limits import DEFAULT_LIMITS
from broker_plugin.codec.verdict import Tense
from broker_plugin.demo.packets import night_messages
from broker_plugin.demo.playlist import archive_tracks
from broker_plugin.demo.simulator import simulate_night
from broker_plugin.engine.explanation import counted
from broker_plugin.errors import ConfigurationError
from broker_plugin.service.addresses import source_address
from broker_plugin.service.logging import configure_logging
from broker_plugin.service.settings_sources import load_settings
from broker_plugin.settings import Settings
from broker_plugin.streams.base import OutgoingMessage
from broker_plugin.streams.kafka import KafkaSink

__all__ = ["feed"]

CHUNK = 100
"""Messages that are sent at a time: ten megabytes of packets with their images."""

CONNECT_S = 20.0
"""Longest wait for the brokers and the topic."""


def feed(
    *paths: Path,
    config: Path | None = None,
    topic: str | None = None,
    bootstrap: str | None = None,
    n_alerts: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 400,
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 1,
) -> None:
    """Send alerts to an input topic of your own, to try the service: a simulated night, or your files.

    A survey's stream needs none of this. Let the service that judges such alerts say so: tense = "test" in
    its settings. Where they do not, their input may be the live one, and only --topic says where to send.

        broker-plugin feed --config run.toml
        broker-plugin feed night.tar.gz --config run.toml

    Parameters
    ----------
    paths
        Files, directories and nightly archives of Avro packets, each record a message; without any, a night
        is simulated. Rubin's simulated packets come without their schema, as the real ones do.
    config
        The settings of run: its survey, bootstrap and input are meant.
    topic
        Topic to send to; by default the input of the settings, if their tense is test.
    bootstrap
        host:port of the cluster; by default the one that run reads.
    n_alerts
        Size of the simulated night of both surveys, of which the survey's own part is sent.
    seed
        Equal seeds give equal nights.
    """
    configure_logging(level="warning")
    given = {"bootstrap": bootstrap, "input": topic}
    settings = load_settings({name: value for name, value in given.items() if value}, config=config)
    settings.require("bootstrap", "input", *([] if paths else ["survey"]))
    if not topic and settings.tense != Tense.TEST:
        raise ConfigurationError(
            f"the tense of the settings is {settings.tense}, so that {settings.input} may be a live topic",
            remedy='set tense = "test", or name the topic with --topic',
        )
    if config is not None and any(path.exists() and path.samefile(config) for path in paths):
        raise ConfigurationError(f"{config} holds settings, and perhaps passwords", remedy="name alerts")
    values = (track.value for track in archive_tracks(paths)) if paths else _night(settings, n_alerts, seed)
    whole = "" if paths else f", {settings.survey}'s part of a simulated night of {n_alerts}"
    address = source_address(settings).credentials_only()
    most = max(settings.limits.message_bytes, DEFAULT_LIMITS.message_bytes)  # what files are read to, or more
    sink = KafkaSink(address, message_max_bytes=most)
    sent = _send(values, sink, settings.input)
    sys.stdout.write(f"{counted(sent, 'message')} sent to {settings.input} at {settings.bootstrap}{whole}\n")


def _night(settings: Settings, n_alerts: int, seed: int) -> Iterator[bytes]:
    """Yield the alerts that one survey has in a simulated night."""
    for alert, value in night_messages(simulate_night(seed, n_alerts=n_alerts)):
        if alert.object.object_id.startswith(f"{settings.survey}:"):
            yield value


def _send(values: Iterable[bytes], sink: KafkaSink, topic: str) -> int:
    left, sent = iter(values), 0
    try:
        sink.connect([topic], deadline_s=CONNECT_S)
        while some := [OutgoingMessage(topic=topic, value=value) for value in islice(left, CHUNK)]:
            sink.send(some)
            sent += len(some)
    finally:
        sink.close()
    return sent
