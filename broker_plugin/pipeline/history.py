# SPDX-License-Identifier: BSD-3-Clause
"""Joins alerts to what earlier alerts brought of the same objects.

The packet has the last word on its own rows; stored ones fill in what it lacks, and say which of its rows the
survey has withdrawn meanwhile. Stored forced photometry of an exposure in which the packet has a detection is
left out: it would change the detection's flux, and is measured anew with every alert. The survey's own rules
then make the light curve of them all, as if they had come in one packet. Alerts of one batch meet one another
in order of time, as if each had come by itself.

What moves has no history: what was once at its place is not it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from broker_plugin.epochs import EpochRows
from broker_plugin.instants import CLOCKS_DIFFER
from broker_plugin.records import Access, Alert, LightCurve, Origin, QualityFlag, SourceContext
from broker_plugin.store.base import CorruptValueError, opened, sealed
from broker_plugin.store.history import (
    IDENTITY,
    NOTHING,
    HistoryBounds,
    Rows,
    epoch_rows,
    history_key,
    joined,
    known_to,
    pack,
    readable_keys,
    rows_brought,
    trimmed,
    unpack,
    within,
)
from broker_plugin.surveys.base import SurveyAdapter
from broker_plugin.times import SECONDS_PER_DAY

__all__ = ["Histories", "with_stored_rows"]

FUTURE_DAY = CLOCKS_DIFFER / timedelta(days=1)
"""An alert that is later than now by more than this is scored, but takes no part in any history: its time
would make the object's own epochs look too old to be kept."""

MJD_OF_UNIX_ZERO = 40_587.0

CURVE_FLAGS = frozenset(
    {
        QualityFlag.NO_LIGHT_CURVE,
        QualityFlag.DIFFERENCE_FLUX_ONLY,
        QualityFlag.HISTORY_AFTER_ALERT,
        QualityFlag.EPOCHS_INVALID,
        QualityFlag.EPOCHS_WITHDRAWN,
    }
)
"""Remarks on the rows that a light curve was made of; another choice of rows has its own."""


class Histories:
    """The histories of objects, between stored values and alerts. Knows no store.

    Parameters
    ----------
    adapters
        The surveys, whose rules make light curves of rows.
    access
        What the readers of the verdicts may see.
    bounds
        How much of an object is kept.
    now
        Seconds since 1970.

    Attributes
    ----------
    added, corrupt
        Number of epochs that were added to alerts, and of stored values that could not be read.
    """

    def __init__(
        self,
        adapters: Sequence[SurveyAdapter],
        *,
        access: frozenset[Access],
        bounds: HistoryBounds | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.added = self.corrupt = 0
        self.bounds = HistoryBounds() if bounds is None else bounds
        self._adapters = {adapter.name: adapter for adapter in adapters}
        self._access = access
        self._now = now

    def applies(self, alert: Alert) -> bool:
        """Tell whether an alert takes part in the history of its object."""
        today = self._now() / SECONDS_PER_DAY + MJD_OF_UNIX_ZERO
        return (
            alert.rows is not None
            and alert.survey in self._adapters
            and alert.source_context is not SourceContext.SOLAR_SYSTEM
            and alert.mjd_tai <= today + FUTURE_DAY
        )

    def keys(self, alerts: Sequence[Alert]) -> list[str]:
        """Return the keys of all that is to be read for some alerts."""
        objects = {alert.object_id: None for alert in alerts if self.applies(alert)}
        return [key for each in objects for key in readable_keys(each, self._access).values()]

    def recalled(self, alerts: Sequence[Alert], rows_of: Callable[[str], Rows]) -> list[Alert]:
        """Return the alerts with the epochs that stored rows add, in order.

        Parameters
        ----------
        rows_of
            Returns the stored rows of a key.
        """
        of_object: dict[str, list[int]] = defaultdict(list)
        for row, alert in enumerate(alerts):
            if self.applies(alert):
                of_object[alert.object_id].append(row)
        recalled = list(alerts)
        for object_id, rows in of_object.items():
            keys = readable_keys(object_id, self._access).values()
            known = joined([rows_of(key) for key in keys])
            rows.sort(key=lambda row: (alerts[row].mjd_tai, alerts[row].alert_id))
            for row in rows:
                alert = alerts[row]
                adapter = self._adapters[alert.survey]
                recalled[row] = with_stored_rows(alert, known, adapter, self.bounds)
                if row != rows[-1]:
                    known = joined([known, *_brought(alert).values()])
        self.added += sum(alert.n_stored_epochs or 0 for alert in recalled)
        return recalled

    def brought(self, alerts: Sequence[Alert]) -> dict[str, Rows]:
        """Return the rows that alerts bring, by key."""
        brought: dict[str, list[Rows]] = defaultdict(list)
        for alert in alerts:
            if self.applies(alert):
                for rights, rows in _brought(alert).items():
                    brought[history_key(alert.object_id, rights)].append(rows)
        return {key: joined(parts) for key, parts in brought.items()}

    def rows_in(self, value: bytes | None) -> Rows:
        """Return the rows of a stored value; none if it is not there, or not as it was written."""
        try:
            return NOTHING if value is None else unpack(opened(value))
        except CorruptValueError:
            self.corrupt += 1
            return NOTHING

    def merged(self, value: bytes | None, new: Rows) -> bytes:
        """Return the stored value with new rows joined to it."""
        return sealed(pack(trimmed(joined([self.rows_in(value), new]), self.bounds.kept)))


def with_stored_rows(alert: Alert, stored: Rows, adapter: SurveyAdapter, bounds: HistoryBounds) -> Alert:
    """Return an alert whose light curve is made of its own rows and of those that earlier alerts brought.

    Parameters
    ----------
    alert
        With the rows of its packet.
    stored
        What is known of its object, each row once. Of it only what earlier alerts brought is used.
    adapter
        Its survey.
    bounds
        How much of it is used. What is older was there when it was first judged, and may be dropped when it
        is judged again, since the alert itself has been stored.
    """
    packet = alert.rows
    if packet is None:
        return alert
    if not len(stored):
        return replace(alert, n_stored_epochs=0)
    stored = known_to(stored, mjd_tai=alert.mjd_tai, alert_id=alert.alert_id)
    own, others = _identities(packet), _identities(stored)
    gone = {each for each, withdrawn in zip(others, stored["withdrawn"], strict=True) if withdrawn}
    withdrawn = _among(own, gone) & ~packet.trigger & ~packet.withdrawn
    left = [each for each, is_gone in zip(own, packet.withdrawn | withdrawn, strict=True) if not is_gone]
    new = stored[~_among(others, {*own, *_forced_of_detections(left)}) & ~stored["withdrawn"]]
    new = within(new, bounds, mjd_tai=alert.mjd_tai, n_others=len(packet))
    if not len(new) and not withdrawn.any():
        return replace(alert, n_stored_epochs=0)
    rows = EpochRows.concatenate([replace(packet, withdrawn=packet.withdrawn | withdrawn), epoch_rows(new)])
    curve, flags = adapter.light_curve(rows, alert.mjd_tai, alert.source_context)
    flags |= set(alert.flags) - CURVE_FLAGS
    return replace(
        alert,
        light_curve=curve,
        flags=tuple(flag for flag in QualityFlag if flag in flags),
        n_stored_epochs=_n_added(curve, alert.light_curve),
    )


def _brought(alert: Alert) -> Mapping[int, Rows]:
    if alert.rows is None:
        return {}
    return rows_brought(alert.rows, mjd_tai=alert.mjd_tai, alert_id=alert.alert_id)


def _identities(rows: EpochRows | Rows) -> list[tuple[int, ...]]:
    columns = [rows[name] if isinstance(rows, np.ndarray) else getattr(rows, name) for name in IDENTITY]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _forced_of_detections(identities: Sequence[tuple[int, ...]]) -> set[tuple[int, ...]]:
    """Return the identities of forced photometry in the exposures of detections."""
    return {(*epoch, Origin.FORCED) for *epoch, origin in identities if origin == Origin.DETECTION}


def _among(identities: Sequence[tuple[int, ...]], others: set[tuple[int, ...]]) -> NDArray[np.bool_]:
    return np.array([each in others for each in identities], np.bool_)


def _n_added(curve: LightCurve, before: LightCurve) -> int:
    def epochs(of: LightCurve) -> set[tuple[float, ...]]:
        columns = (of.mjd_tai, of.detector, of.band, of.origin)
        return set(zip(*(column.tolist() for column in columns), strict=True))

    return len(epochs(curve) - epochs(before))
