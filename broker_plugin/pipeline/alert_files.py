# SPDX-License-Identifier: BSD-3-Clause
"""Alerts from files, one after the other, for whoever wants to look at them or score them from Python."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.errors import RejectedAlert
from broker_plugin.records import Access, Alert, Provenance
from broker_plugin.streams.archive import ArchiveSource
from broker_plugin.streams.base import Message
from broker_plugin.surveys.base import PUBLIC_ONLY
from broker_plugin.surveys.registry import adapters

__all__ = ["AlertFile", "read_alerts"]


def read_alerts(
    *paths: str | Path, schemas: SchemaStore | None = None, access: frozenset[Access] = PUBLIC_ONLY
) -> AlertFile:
    """Return the alerts of files, to be gone through once.

    Whatever `broker-plugin replay` reads is read: Avro container files, single framed packets, tar archives,
    Parquet, and directories of them.

    Parameters
    ----------
    paths
        Files and directories.
    schemas
        Where the schemas of framed packets come from; by default those that are installed.
    access
        What may be seen; the rest is left out of the alerts.

    Raises
    ------
    ConfigurationError
        If a path does not exist or nothing is found.
    """
    decoder = Decoder(schemas=schemas or SchemaStore(), adapters=adapters(), access=access)
    return AlertFile(source=ArchiveSource([Path(path) for path in paths]), decoder=decoder)


@dataclass(kw_only=True)
class AlertFile:
    """An iterator of alerts that goes on after what cannot become one, and remembers it in `rejected`."""

    source: ArchiveSource
    decoder: Decoder
    rejected: list[RejectedAlert] = field(default_factory=list)

    def __iter__(self) -> Iterator[Alert]:
        for found in self.outcomes():
            if isinstance(found, Alert):
                yield found

    def outcomes(self) -> Generator[Alert | RejectedAlert, None, None]:
        """Yield the alerts in order, and in the place of what cannot become one the reason.

        Close it if it is left before its end: a file is open until then.
        """
        try:
            while not self.source.exhausted:
                for message in self.source.poll(1):
                    try:
                        yield from _alerts(message, self.decoder)
                    except RejectedAlert as rejection:
                        self.rejected.append(rejection)
                        yield rejection
        finally:
            self.source.close()


def _alerts(message: Message, decoder: Decoder) -> Sequence[Alert]:
    if message.defect is not None:
        raise message.defect
    provenance = Provenance(topic=message.topic, offset=message.offset, schema=message.schema)
    if message.packet is not None:
        return decoder.adapt(message.packet, provenance, writer=message.writer)
    return decoder.decode(message.value, provenance)
