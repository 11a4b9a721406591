# SPDX-License-Identifier: BSD-3-Clause
"""Messages to alerts: bytes, packets and survey adapters joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from broker_plugin.codec.limits import DEFAULT_LIMITS, Limits
from broker_plugin.codec.packets import decode_message
from broker_plugin.codec.schema_watch import SchemaWatch
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.writer_schema import WriterSchema
from broker_plugin.errors import RejectedAlert, RejectReason
from broker_plugin.records import Access, Alert, Provenance, QualityFlag
from broker_plugin.surveys.base import PUBLIC_ONLY, Packet, SurveyAdapter

__all__ = ["Decoder"]


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
        decoded = decode_message(value, schema_of=self._schemas.writer_schema, limits=self._limits)
        named = replace(provenance, schema=decoded.schema)
        degraded = self._watch.is_degraded(decoded.writer, registered=decoded.registered)
        try:
            return [self._adapt(packet, named, degraded=degraded) for packet in decoded.packets]
        except RejectedAlert as rejection:
            # The bytes hold every packet, so who may see them depends on all, not on the rejected one alone.
            access = self._access_of(decoded.packets)
            raise RejectedAlert(rejection.reason, rejection.detail, access=access) from rejection

    def adapt(self, packet: Packet, provenance: Provenance, *, writer: WriterSchema | None = None) -> Alert:
        """Return the alert of a packet that is decoded already.

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

    def _adapt(self, packet: Packet, provenance: Provenance, *, degraded: bool) -> Alert:
        adapter = self._adapter_of(packet)
        if adapter is None:
            surveys = ", ".join(known.name for known in self._adapters)
            raise RejectedAlert(RejectReason.MISSING_FIELD, f"the packet is not an alert of: {surveys}")
        self._check_histories(packet, adapter)
        alert = adapter.adapt(packet, access=self._access, provenance=provenance).seen_by(self._access)
        return replace(alert, flags=(*alert.flags, QualityFlag.DEGRADED_SCHEMA)) if degraded else alert

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
