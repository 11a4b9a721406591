# SPDX-License-Identifier: BSD-3-Clause
"""Messages to alerts: bytes, packets and survey adapters joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from broker_plugin.codec.packets import MESSAGE_MAX_BYTES, decode_message
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.errors import RejectedAlert, RejectReason
from broker_plugin.records import Access, Alert, Provenance
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
    max_bytes
        Larger messages are rejected.
    """

    def __init__(
        self,
        *,
        schemas: SchemaStore,
        adapters: Sequence[SurveyAdapter],
        access: frozenset[Access] = PUBLIC_ONLY,
        max_bytes: int = MESSAGE_MAX_BYTES,
    ) -> None:
        self._schemas = schemas
        self._adapters = tuple(adapters)
        self._access = access
        self._max_bytes = max_bytes

    def decode(self, value: bytes, provenance: Provenance) -> list[Alert]:
        """Return the alerts of one message: one, or as many as its container file holds.

        Raises
        ------
        RejectedAlert
            If the message, or any alert in it, can never become a verdict.
        TransientError
            If its schema is known only to a registry that does not answer.
        """
        decoded = decode_message(value, schema_of=self._schemas.writer_schema, max_bytes=self._max_bytes)
        named = replace(provenance, schema=decoded.schema)
        try:
            return [self.adapt(packet, named) for packet in decoded.packets]
        except RejectedAlert as rejection:
            # The bytes hold every packet, so who may see them depends on all, not on the rejected one alone.
            access = self._access_of(decoded.packets)
            raise RejectedAlert(rejection.reason, rejection.detail, access=access) from rejection

    def adapt(self, packet: Packet, provenance: Provenance) -> Alert:
        """Return the alert of a packet that is decoded already.

        Raises
        ------
        RejectedAlert
            If no survey knows the packet, or it cannot become an alert.
        """
        adapter = self._adapter_of(packet)
        if adapter is None:
            surveys = ", ".join(known.name for known in self._adapters)
            raise RejectedAlert(RejectReason.MISSING_FIELD, f"the packet is not an alert of: {surveys}")
        return adapter.adapt(packet, access=self._access, provenance=provenance).seen_by(self._access)

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
