# SPDX-License-Identifier: BSD-3-Clause
"""What a survey adapter is: packets in, alerts out, one by one or as columns over many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from broker_plugin.epochs import EpochRows
from broker_plugin.records import Access, Alert, LightCurve, Provenance, QualityFlag, SourceContext
from broker_plugin.surveys.adapted import AdaptedAlerts
from broker_plugin.surveys.columns import Layout, PacketColumns
from broker_plugin.surveys.drift import SchemaNeeds

__all__ = ["PUBLIC_ONLY", "ColumnAdapter", "Packet", "SplittingAdapter", "SurveyAdapter"]

Packet = Mapping[str, Any]
"""A decoded Avro record."""

PUBLIC_ONLY: frozenset[Access] = frozenset({Access.PUBLIC})
"""The rights of a sink that declares nothing."""


class SurveyAdapter(Protocol):
    """Turns packets of one survey into alerts, one by one."""

    name: str
    """The survey's name, `ztf` or `lsst`."""

    needs: SchemaNeeds
    """What a writer schema must have for it."""
    histories: tuple[str, ...]
    """The fields of a packet that hold an epoch in each row."""
    marks: tuple[str, ...]
    """Fields at the top of every packet of the survey; what has none of them is not recognised."""

    def recognises(self, packet: Packet) -> bool:
        """Tell whether a packet is of this survey."""
        ...

    def adapt(self, packet: Packet, *, access: frozenset[Access], provenance: Provenance) -> Alert:
        """Return the alert of one packet, made only of what `access` may see.

        Raises
        ------
        RejectedAlert
            If the packet cannot become an alert, with reason `ACCESS` where its trigger may not be seen.
        """
        ...

    def access_of(self, packet: Packet) -> frozenset[Access]:
        """Return every access class that occurs in a packet, for deciding who may see its bytes."""
        ...

    def light_curve(
        self, rows: EpochRows, mjd_tai: float, context: SourceContext
    ) -> tuple[LightCurve, set[QualityFlag]]:
        """Return the light curve up to a time and what is to be remarked about it.

        Parameters
        ----------
        rows
            Measurements of one object that may be seen, from one packet or several.
        mjd_tai
            Time of the alert that it is for.
        context
            What that alert's packet says of the source.
        """
        ...


@runtime_checkable
class SplittingAdapter(SurveyAdapter, Protocol):
    """Reads packets that may hold several alerts."""

    def split(self, packet: Packet) -> Iterator[Packet]:
        """Yield a packet of the same form for each alert that a packet holds, in order of time."""
        ...


@runtime_checkable
class ColumnAdapter(SurveyAdapter, Protocol):
    """Turns many packets into alerts at once too, from columns that compiled programs fill."""

    layout: Layout
    """What it reads of a packet."""

    def adapt_columns(
        self, columns: PacketColumns, *, access: frozenset[Access], provenance: Sequence[Provenance]
    ) -> AdaptedAlerts:
        """Return the alerts of those packets of which `adapt` would return one."""
        ...
