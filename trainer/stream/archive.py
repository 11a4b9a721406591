# SPDX-License-Identifier: BSD-3-Clause
"""An unlabelled archive of alerts, read through the adapters of the service, and what was left out of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.packets import decode_message
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.errors import ConfigurationError, RejectedAlert
from broker_plugin.records import Alert, Provenance, QualityFlag
from broker_plugin.streams.archive import ArchiveSource
from broker_plugin.streams.base import Message
from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.registry import adapters
from trainer.stream.soundness import SHARED_POSITION, defect_of, exposure_of, shared_positions

__all__ = ["Sighting", "StreamArchive", "read_archive"]

POLL = 500
"""Messages read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """An alert and the exposure that it was found in."""

    alert: Alert
    exposure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamArchive:
    """Alerts of the sky, each once, in the order of the archive.

    Parameters
    ----------
    funnel
        By survey, how many alerts were read and how many went for which reason, the kept ones last.
    """

    sightings: tuple[Sighting, ...]
    funnel: dict[str, dict[str, int]]


def read_archive(
    paths: Sequence[Path],
    *,
    surveys: Sequence[str],
    schemas: Sequence[Path] = (),
    advance: Callable[[int], None] = lambda n: None,
) -> StreamArchive:
    """Read every sound alert under the paths once.

    Parameters
    ----------
    surveys
        Names of the surveys to expect; packets of others are counted as rejected.
    schemas
        Directories of schemas for framed packets.
    advance
        Told how many bytes have been read so far.

    Raises
    ------
    ConfigurationError
        If there is no alert of the sky among them.
    """
    source = ArchiveSource(paths)
    decoder = Decoder(schemas=SchemaStore(None, schemas), adapters=adapters(surveys))
    schema_store = SchemaStore(None, schemas)
    funnel: dict[str, Counter[str]] = {}
    kept: dict[str, Sighting] = {}
    for messages in iter(lambda: source.poll(POLL), []):
        for message in messages:
            for survey, outcome in _sightings(message, decoder, schema_store):
                counts = funnel.setdefault(survey, Counter())
                counts["read"] += 1
                if isinstance(outcome, str):
                    counts[outcome] += 1
                elif outcome.alert.alert_key in kept:
                    counts["duplicate"] += 1
                else:
                    kept[outcome.alert.alert_key] = outcome
        advance(source.bytes_read)
    sightings = _without_shared_positions(list(kept.values()), funnel)
    if not sightings:
        raise ConfigurationError(
            f"no alert of the sky under {', '.join(map(str, paths))}; "
            f"what was read: {({name: dict(counts) for name, counts in funnel.items()}) or 'nothing'}"
        )
    for survey, counts in funnel.items():
        counts["kept"] = sum(each.alert.survey == survey for each in sightings)
    return StreamArchive(
        sightings=tuple(sightings),
        funnel={survey: dict(counts) for survey, counts in sorted(funnel.items())},
    )


def _sightings(
    message: Message, decoder: Decoder, schemas: SchemaStore
) -> Iterator[tuple[str, Sighting | str]]:
    """Yield the survey of every alert in a message, with its sighting or the reason why it has none."""
    provenance = Provenance(
        topic=message.topic, partition=message.partition, offset=message.offset, schema=message.schema
    )
    try:
        packets, schema = _packets(message, schemas)
    except RejectedAlert as rejection:
        yield "undecodable", str(rejection.reason)
        return
    for packet in packets:
        try:
            alerts = decoder.adapt(packet, provenance)
        except RejectedAlert as rejection:
            yield "undecodable", str(rejection.reason)
            continue
        for alert in alerts:
            defect = defect_of(packet, alert.survey, schema=schema)
            if QualityFlag.WITHDRAWN in alert.flags:
                defect = defect or str(QualityFlag.WITHDRAWN)
            if defect:
                yield alert.survey, defect
            else:
                yield alert.survey, Sighting(alert=alert, exposure=exposure_of(packet, alert.survey))


def _packets(message: Message, schemas: SchemaStore) -> tuple[Sequence[Packet], str]:
    if message.defect is not None:
        raise message.defect
    if message.packet is not None:
        return [message.packet], message.schema
    decoded = decode_message(message.value, schema_of=schemas.writer_schema)
    return decoded.packets, decoded.schema


def _without_shared_positions(sightings: list[Sighting], funnel: dict[str, Counter[str]]) -> list[Sighting]:
    if not sightings:
        return []
    alerts = [each.alert for each in sightings]
    shared: NDArray[np.bool_] = shared_positions(
        [alert.object_id for alert in alerts],
        np.array([alert.ra_deg for alert in alerts]),
        np.array([alert.dec_deg for alert in alerts]),
    )
    for alert, is_shared in zip(alerts, shared, strict=True):
        if is_shared:
            funnel[alert.survey][SHARED_POSITION] += 1
    return [each for each, is_shared in zip(sightings, shared, strict=True) if not is_shared]
