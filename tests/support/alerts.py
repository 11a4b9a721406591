# SPDX-License-Identifier: BSD-3-Clause
"""The real alerts, adapted."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.records import Alert, Provenance
from broker_plugin.streams.archive import ArchiveSource
from broker_plugin.surveys.registry import adapters

__all__ = ["real_alerts"]


@cache
def real_alerts(data_dir: Path) -> tuple[Alert, ...]:
    """Return every alert of the re-encoded ZTF set and of the Rubin container files."""
    decoder = Decoder(schemas=SchemaStore(), adapters=adapters())
    source = ArchiveSource(
        [data_dir / "alerts/ztf/nocutouts.avro", *sorted((data_dir / "alerts/lsst").glob("*.avro"))]
    )
    messages = iter(lambda: source.poll(500), [])
    return tuple(
        alert
        for batch in messages
        for message in batch
        if message.packet is not None
        for alert in decoder.adapt(message.packet, Provenance(topic=message.topic, offset=message.offset))
    )
