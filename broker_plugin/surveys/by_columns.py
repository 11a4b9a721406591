# SPDX-License-Identifier: BSD-3-Clause
"""An adapter that knows columns only: one packet is read as columns of length one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from broker_plugin.epochs import EpochRows
from broker_plugin.errors import RejectedAlert
from broker_plugin.records import Access, Alert, LightCurve, Provenance, QualityFlag, SourceContext
from broker_plugin.surveys.adapted import AdaptedAlerts
from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.columns import Layout, PacketColumns, columns_of_packets
from broker_plugin.surveys.epochs import LightCurves

__all__ = ["ByColumns"]


class ByColumns(ABC):
    """The part of a `ColumnAdapter` that follows from what it does with columns."""

    layout: Layout

    def adapt(self, packet: Packet, *, access: frozenset[Access], provenance: Provenance) -> Alert:
        """Return the alert of one packet, made only of what `access` may see."""
        try:
            self.check(packet, access)
        except RejectedAlert as rejection:
            raise rejection.with_access(self.access_of(packet)) from rejection
        columns = columns_of_packets([packet], self.layout)
        return self.adapt_columns(columns, access=access, provenance=[provenance]).alerts()[0]

    def light_curve(
        self, rows: EpochRows, mjd_tai: float, context: SourceContext
    ) -> tuple[LightCurve, set[QualityFlag]]:
        """Return the light curve up to a time and what is to be remarked about it."""
        alert = np.zeros(len(rows), np.int64)
        return self.light_curves(rows, alert, np.array([mjd_tai]), [context]).only()

    @abstractmethod
    def access_of(self, packet: Packet) -> frozenset[Access]:
        """Return every access class that occurs in a packet."""

    @abstractmethod
    def check(self, packet: Packet, access: frozenset[Access]) -> None:
        """Reject a packet of which `adapt_columns` makes no alert, saying why."""

    @abstractmethod
    def adapt_columns(
        self, columns: PacketColumns, *, access: frozenset[Access], provenance: Sequence[Provenance]
    ) -> AdaptedAlerts:
        """Return the alerts of those packets of which `adapt` would return one."""

    @abstractmethod
    def light_curves(
        self,
        rows: EpochRows,
        alert: NDArray[np.int64],
        mjd_tai: NDArray[np.float64],
        contexts: Sequence[SourceContext],
    ) -> LightCurves:
        """Return the light curves of alerts, each up to its own time.

        Parameters
        ----------
        rows
            Measurements of all alerts.
        alert
            The alert that each is of.
        mjd_tai, contexts
            Of each alert: its time, and what its packet says of the source.
        """
