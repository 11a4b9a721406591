# SPDX-License-Identifier: BSD-3-Clause
"""A survey's alerts as another broker sends them on: put back into the survey's form, then read as those."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from broker_plugin.epochs import EpochRows
from broker_plugin.records import Access, Alert, LightCurve, Provenance, QualityFlag, SourceContext
from broker_plugin.surveys.base import Packet, SurveyAdapter
from broker_plugin.surveys.drift import SchemaNeeds

__all__ = ["Rebroadcast"]


class Rebroadcast:
    """Reads one broker's form of one survey's alerts.

    Parameters
    ----------
    survey
        Reads what the broker's packet is turned into.
    names
        Matches the full names of the broker's schemas; whatever these lack is normal.
    histories
        The fields of the broker's packet that hold an epoch in each row.
    marks
        Fields at the top of every packet of the broker.
    recognises
        Tells whether a packet has the broker's form.
    restored
        Returns the survey's packet, as far as the broker sends it on.
    split
        Yields a packet of the broker for each alert of one; by default one holds one.
    """

    def __init__(
        self,
        survey: SurveyAdapter,
        *,
        names: re.Pattern[str],
        histories: tuple[str, ...],
        marks: tuple[str, ...],
        recognises: Callable[[Packet], bool],
        restored: Callable[[Packet], Packet],
        split: Callable[[Packet], Iterator[Packet]] = lambda packet: iter((packet,)),
    ) -> None:
        self.name = survey.name
        self.histories = histories
        self.marks = marks
        self.needs = SchemaNeeds(names=names, trigger=(), history=())
        self._survey = survey
        self._recognises = recognises
        self._restored = restored
        self._split = split

    def recognises(self, packet: Packet) -> bool:
        """Tell whether a packet has the broker's form."""
        return self._recognises(packet)

    def split(self, packet: Packet) -> Iterator[Packet]:
        """Yield a packet of the broker for each alert that a packet holds, in order of time."""
        return self._split(packet)

    def access_of(self, packet: Packet) -> frozenset[Access]:
        """Return every access class that occurs in a packet."""
        return self._survey.access_of(self._restored(packet))

    def adapt(self, packet: Packet, *, access: frozenset[Access], provenance: Provenance) -> Alert:
        """Return the alert of one packet, made only of what `access` may see."""
        return self._survey.adapt(self._restored(packet), access=access, provenance=provenance)

    def light_curve(
        self, rows: EpochRows, mjd_tai: float, context: SourceContext
    ) -> tuple[LightCurve, set[QualityFlag]]:
        """Return the light curve of measurements, by the survey's rules."""
        return self._survey.light_curve(rows, mjd_tai, context)
