# SPDX-License-Identifier: BSD-3-Clause
"""Joins alerts to what catalogues and spectra in the store say of them.

A row that names the object comes first, then those near its position, the nearest of a catalogue first. The
packet has the last word: context fills in only what the packet leaves open. What moves, and what has no
object, gets none: the catalogue source at its place is not it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from broker_plugin.records import Access, Alert, SourceContext
from broker_plugin.store.base import CorruptValueError, opened
from broker_plugin.store.catalogue_values import is_possible
from broker_plugin.store.context import SUMMARY_KEY, ContextRow, context_key, rows_in
from broker_plugin.store.sky import cells_near, separation_arcsec

__all__ = ["RADIUS_ARCSEC", "Contexts"]

RADIUS_ARCSEC = 1.5
"""Rows nearer than this are of the object: as far as the surveys' positions scatter when faint. Proper motion
is not followed, so a catalogue of fast stars is to be brought to the epoch of the survey first."""

BOTH = (False, True)
"""Rows and spectra."""


class Contexts:
    """What catalogues say, between stored values and alerts. Knows no store.

    Parameters
    ----------
    access
        What the readers of the verdicts may see.
    radius_arcsec
        Largest distance of a row from the alert.

    Attributes
    ----------
    corrupt
        Number of stored values that could not be read.
    """

    def __init__(self, *, access: frozenset[Access], radius_arcsec: float = RADIUS_ARCSEC) -> None:
        self.corrupt = 0
        self._access = sorted(access)
        self._radius_arcsec = radius_arcsec
        self._kinds: tuple[bool, ...] = BOTH  # until the store has said what there is

    def keys(self, alerts: Sequence[Alert]) -> list[str]:
        """Return the keys of all that is to be read for some alerts, the summary of what there is first."""
        return [SUMMARY_KEY, *(key for alert in alerts for key in self._keys_of(alert))]

    def recalled(self, alerts: Sequence[Alert], value_of: Callable[[str], bytes | None]) -> list[Alert]:
        """Return the alerts with what the stored rows add, in order."""
        recalled = [self._with_rows(alert, value_of) for alert in alerts]
        self._kinds = _kinds_in(value_of(SUMMARY_KEY))  # from the next batch on
        return recalled

    def _keys_of(self, alert: Alert) -> Iterator[str]:
        moves = alert.rows is None or alert.source_context is SourceContext.SOLAR_SYSTEM
        if moves or not self._kinds:
            return
        cells = cells_near(alert.ra_deg, alert.dec_deg, self._radius_arcsec)
        for place in (alert.object_id, *cells):
            for access in self._access:
                for spectra in self._kinds:
                    yield context_key(place, access, spectra=spectra)

    def _with_rows(self, alert: Alert, value_of: Callable[[str], bytes | None]) -> Alert:
        rows = [row for key in self._keys_of(alert) for row in self._rows_in(value_of(key))]
        near = sorted(
            (rank, row.catalogue, row.source_id, number)
            for number, row in enumerate(rows)
            if (rank := self._rank(alert, row)) is not None
        )
        metadata, spectrum = dict(alert.metadata), alert.spectrum
        used: dict[str, None] = {}
        for *_, number in near:
            row = rows[number]
            new = {
                name: value
                for name, value in row.values.items()
                if name not in metadata and is_possible(name, value)  # older loads took every number
            }
            takes_spectrum = spectrum is None and row.spectrum is not None
            metadata |= new
            spectrum = row.spectrum if takes_spectrum else spectrum
            if new or takes_spectrum:
                used[f"{row.catalogue}:{row.source_id}"] = None
        if not used:
            return alert
        return replace(alert, metadata=metadata, spectrum=spectrum, context_sources=tuple(used))

    def _rank(self, alert: Alert, row: ContextRow) -> float | None:
        if row.access not in self._access:
            return None
        if row.object_id:
            return -1.0 if row.object_id == alert.object_id else None
        if row.ra_deg is None or row.dec_deg is None:
            return None
        distance = separation_arcsec(alert.ra_deg, alert.dec_deg, row.ra_deg, row.dec_deg)
        return distance if distance <= self._radius_arcsec else None

    def _rows_in(self, value: bytes | None) -> list[ContextRow]:
        try:
            return rows_in(value)
        except CorruptValueError:
            self.corrupt += 1
            return []


def _kinds_in(summary: bytes | None) -> tuple[bool, ...]:
    """Return what to look for: rows, and spectra where any catalogue has some."""
    if summary is None:
        return ()
    try:
        return BOTH if any(json.loads(opened(summary)).values()) else (False,)
    except (ValueError, AttributeError):
        return BOTH
