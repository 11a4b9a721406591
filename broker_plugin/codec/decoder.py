# SPDX-License-Identifier: BSD-3-Clause
"""Messages to alerts: bytes, packets and survey adapters joined.

There are two ways. `decode_batch` takes many messages and reads, by compiled programs, what the adapters need
of each. `decode` takes one, reads all of it, and knows why a message is rejected. The first leaves to the
second whatever is not plainly well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from broker_plugin.codec.bulk import BulkReader, Found, warm_up
from broker_plugin.codec.limits import DEFAULT_LIMITS, TOO_MANY_ALERTS, Limits
from broker_plugin.codec.packets import decode_message
from broker_plugin.codec.schema_watch import SchemaWatch
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.writer_schema import WriterSchema
from broker_plugin.errors import RejectedAlert, RejectReason
from broker_plugin.records import Access, Alert, AlertBatch, Provenance, QualityFlag
from broker_plugin.surveys.adapted import AdaptedAlerts
from broker_plugin.surveys.base import PUBLIC_ONLY, ColumnAdapter, Packet, SplittingAdapter, SurveyAdapter
from broker_plugin.surveys.columns import columns_of_packets
from broker_plugin.surveys.drift import Drift

__all__ = ["NO_PACKETS", "DecodedBatch", "Decoder", "ReadPacket"]


@dataclass(frozen=True, slots=True)
class ReadPacket:
    """A packet that is decoded already, and the schema that it was written with, where that is known."""

    packet: Packet
    writer: WriterSchema | None = None


NO_PACKETS: Mapping[int, ReadPacket] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedBatch:
    """The alerts of those messages that could be decoded together, in the order of the messages.

    Parameters
    ----------
    alerts
        The alerts as columns.
    message
        The number of the message that each alert came in. A message that is not among them is for
        `Decoder.decode`, which also knows why it is to be rejected.
    parts
        The same alerts with their measurements, schema by schema, and which of those are meant.
    order
        The place of each alert among those of all parts.
    """

    alerts: AlertBatch
    message: NDArray[np.int64]
    parts: tuple[tuple[AdaptedAlerts, NDArray[np.intp]], ...]
    order: NDArray[np.intp]

    @classmethod
    def of(
        cls,
        parts: Sequence[tuple[AdaptedAlerts, NDArray[np.intp]]],
        messages: Sequence[NDArray[np.int64]],
    ) -> DecodedBatch:
        """Put parts together, with the message of each of their alerts."""
        message = np.concatenate([np.zeros(0, np.int64), *messages])
        order = np.argsort(message, kind="stable")
        batches = [_rows_of(adapted.batch(), rows) for adapted, rows in parts]
        alerts = _rows_of(AlertBatch.concatenate(batches), order)
        return cls(alerts=alerts, message=message[order], parts=tuple(parts), order=order)

    def each(self) -> list[Alert]:
        """Return the alerts one by one, with the measurements that a history is made of."""
        found = []
        for adapted, rows in self.parts:
            alerts = adapted.alerts()
            found += [alerts[row] for row in rows.tolist()]
        return [found[place] for place in self.order.tolist()]


def _with_schema(provenance: Provenance, version: str) -> Provenance:
    return provenance if provenance.schema == version else replace(provenance, schema=version)


def _rows_of(batch: AlertBatch, rows: NDArray[np.intp]) -> AlertBatch:
    in_place = len(rows) == len(batch) and bool((rows == np.arange(len(batch))).all())
    return batch if in_place else batch.take(rows)


class Decoder:
    """Turns messages into alerts.

    Parameters
    ----------
    schemas
        Where the writer schemas of framed messages come from.
    adapters
        The surveys to expect; the first that recognises a packet takes it.
    access
        What the sink is declared for. Nothing else becomes part of an alert.
    pause_on_drift
        Whether a schema that lost a required field pauses the stream; else its alerts are rejected.
    limits
        What a message and an alert may be.
    """

    def __init__(
        self,
        *,
        schemas: SchemaStore,
        adapters: Sequence[SurveyAdapter],
        access: frozenset[Access] = PUBLIC_ONLY,
        pause_on_drift: bool = False,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._schemas = schemas
        self._adapters = tuple(adapters)
        self._access = access
        self._watch = SchemaWatch(self._adapters, pause=pause_on_drift)
        self._limits = limits
        self._bulk = BulkReader(schema_of=schemas.writer_schema, adapters=self._adapters, limits=limits)

    def warm_up(self) -> None:
        """Compile what `decode_batch` needs, or load it from its cache, before the first message comes."""
        warm_up()

    def decode_batch(
        self,
        values: Sequence[bytes],
        provenance: Sequence[Provenance],
        *,
        packets: Mapping[int, ReadPacket] = NO_PACKETS,
    ) -> DecodedBatch:
        """Return the alerts of many messages: of each all of them, or none.

        Parameters
        ----------
        values, provenance
            The messages' bytes, and where they came from.
        packets
            By the number of a message, the packet that it was decoded to already; its bytes are not read.

        Raises
        ------
        TransientError
            If a schema is known only to a registry that does not answer.
        """
        parts = []
        for found in self._bulk.read([b"" if n in packets else value for n, value in enumerate(values)]):
            versions = [schema.version if schema else "" for schema in found.schemas]
            own = [
                _with_schema(provenance[message], versions[schema])
                for message, schema in zip(found.message.tolist(), found.schema.tolist(), strict=True)
            ]
            parts.append(self._adapt_columns(found, own, len(values)))
        for found in self._columns_of(packets):
            own = [provenance[message] for message in found.message.tolist()]
            parts.append(self._adapt_columns(found, own, len(values)))
        return DecodedBatch.of([part for part, _ in parts], [message for _, message in parts])

    def _columns_of(self, packets: Mapping[int, ReadPacket]) -> Iterator[Found]:
        """Yield the columns of packets, survey by survey."""
        groups: dict[int, tuple[ColumnAdapter, list[int]]] = {}
        for number, read in packets.items():
            adapter = self._adapter_of(read.packet)
            if isinstance(adapter, ColumnAdapter):
                groups.setdefault(id(adapter), (adapter, []))[1].append(number)
        for adapter, numbers in groups.values():
            read_together = [packets[number] for number in numbers]
            writers = {id(read.writer): read.writer for read in read_together}
            place = {writer: at for at, writer in enumerate(writers)}
            yield Found(
                adapter=adapter,
                columns=columns_of_packets([read.packet for read in read_together], adapter.layout),
                message=np.array(numbers),
                schemas=tuple(writers.values()),
                schema=np.array([place[id(read.writer)] for read in read_together]),
            )

    def _adapt_columns(
        self, found: Found, provenance: Sequence[Provenance], n_messages: int
    ) -> tuple[tuple[AdaptedAlerts, NDArray[np.intp]], NDArray[np.int64]]:
        """Return alerts, those of them whose messages hold no other packet, and the messages of these."""
        drifts = [Drift() if schema is None else self._watch.drift(schema) for schema in found.schemas]
        degraded = np.array([bool(drift.expected) for drift in drifts])[found.schema]
        # Whether a schema that lacks what is required pauses the stream is decided message by message.
        sound = ~np.array([bool(drift.required) for drift in drifts])[found.schema]
        adapted = found.adapter.adapt_columns(found.columns, access=self._access, provenance=provenance)
        adapted.curves.flags[QualityFlag.DEGRADED_SCHEMA][:] = degraded[adapted.packet]
        packets = adapted.packet[(sound & found.is_within(self._limits))[adapted.packet]]
        # All alerts of a message or none: one that is rejected takes the message's others with it.
        lacking = np.bincount(found.message, minlength=n_messages)
        lacking -= np.bincount(found.message[packets], minlength=n_messages)
        message = found.message[adapted.packet]
        rows = np.flatnonzero(lacking[message] == 0)
        return (adapted, rows), message[rows]

    def decode(self, value: bytes, provenance: Provenance) -> list[Alert]:
        """Return the alerts of one message: one, or as many as its container file holds.

        Raises
        ------
        RejectedAlert
            If the message, or any alert in it, can never become a verdict.
        TransientError
            If its schema is known only to a registry that does not answer.
        StreamPausedError
            If its schema has lost a required field, and the stream is to pause for it.
        """
        decoded = decode_message(
            value, schema_of=self._schemas.writer_schema, limits=self._limits, vouch=self._refuse_foreign
        )
        named = replace(provenance, schema=decoded.schema)
        degraded = self._watch.is_degraded(decoded.writer, registered=decoded.registered)
        alerts: list[Alert] = []
        try:
            for packet in decoded.packets:
                alerts += self._adapt(packet, named, degraded=degraded, before=len(alerts))
        except RejectedAlert as rejection:
            # The bytes hold every packet, so who may see them depends on all, not on the rejected one alone.
            raise rejection.with_access(self._access_of(decoded.packets)) from rejection
        return alerts

    def adapt(
        self, packet: Packet, provenance: Provenance, *, writer: WriterSchema | None = None
    ) -> list[Alert]:
        """Return the alerts of a packet that is decoded already: one, but for some brokers' packets.

        Parameters
        ----------
        packet, provenance
            The packet and where it came from.
        writer
            The schema it was written with, where that is known.

        Raises
        ------
        RejectedAlert
            If no survey knows the packet, or it cannot become an alert.
        """
        degraded = writer is not None and self._watch.is_degraded(writer, registered=False)
        return self._adapt(packet, provenance, degraded=degraded)

    def access_in(self, value: bytes, packet: Packet | None = None) -> frozenset[Access] | None:
        """Return every access class that occurs in a message; None if unknown.

        Parameters
        ----------
        packet
            What the message was decoded to already, if it was.

        Raises
        ------
        RejectedAlert
            If the message cannot be decoded.
        """
        if packet is not None:
            return self._access_of([packet])
        decoded = decode_message(value, schema_of=self._schemas.writer_schema, limits=self._limits)
        return self._access_of(decoded.packets)

    def _adapt(
        self, packet: Packet, provenance: Provenance, *, degraded: bool, before: int = 0
    ) -> list[Alert]:
        """Return the alerts of a packet, behind so many others of its message."""
        adapter = self._adapter_of(packet)
        if adapter is None:
            raise self._foreign()
        self._check_histories(packet, adapter)
        parts = adapter.split(packet) if isinstance(adapter, SplittingAdapter) else [packet]
        alerts: list[Alert] = []
        for part in parts:
            if before + len(alerts) == self._limits.message_alerts:
                raise RejectedAlert(RejectReason.TOO_LARGE, TOO_MANY_ALERTS)
            alerts.append(
                adapter.adapt(part, access=self._access, provenance=provenance).seen_by(self._access)
            )
        if not degraded:
            return alerts
        return [replace(alert, flags=(*alert.flags, QualityFlag.DEGRADED_SCHEMA)) for alert in alerts]

    def _refuse_foreign(self, writer: WriterSchema) -> None:
        """Spare the decoding of what no survey would know: its values may be a million to the kilobyte."""
        if self._watch.is_foreign(writer):
            raise self._foreign()

    def _foreign(self) -> RejectedAlert:
        surveys = ", ".join(dict.fromkeys(known.name for known in self._adapters))
        return RejectedAlert(
            RejectReason.MISSING_FIELD, f"the packet is not an alert of: {surveys}", foreign=True
        )

    def _check_histories(self, packet: Packet, adapter: SurveyAdapter) -> None:
        rows = sum(len(found) for path in adapter.histories if isinstance(found := packet.get(path), list))
        if rows > self._limits.epochs:
            # Which of so many rows are public is not looked at.
            raise RejectedAlert(
                RejectReason.TOO_LARGE,
                f"a history of {rows} epochs is longer than the limit; if that is no mistake, raise "
                "limits.epochs",
                access=frozenset(Access),
            )

    def _adapter_of(self, packet: Packet) -> SurveyAdapter | None:
        return next((adapter for adapter in self._adapters if adapter.recognises(packet)), None)

    def _access_of(self, packets: Sequence[Packet]) -> frozenset[Access] | None:
        found: frozenset[Access] = frozenset()
        for packet in packets:
            adapter = self._adapter_of(packet)
            if adapter is None:
                return None
            found |= adapter.access_of(packet)
        return found
