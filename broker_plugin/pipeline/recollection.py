# SPDX-License-Identifier: BSD-3-Clause
"""The stage of the pipeline that reads and writes the store.

A batch is read in one round trip before it is scored, and written in one after it, by then without the alerts
that could not be scored. Writing comes before the batch is delivered and committed: if it is delivered again,
every row is there already, so the histories stay as they are, and the alerts are joined to the same rows as
before.

While the store is away, alerts go on from the packet alone, flagged, and what they bring waits in a bounded
backlog until the store is back, which is asked for also while no alert comes. What the backlog had to drop,
the histories in later packets mostly bring again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import structlog

from broker_plugin.codec.verdict import Verdict
from broker_plugin.errors import StoreError
from broker_plugin.pipeline.context import Contexts
from broker_plugin.pipeline.history import Histories
from broker_plugin.pipeline.recents import Recents
from broker_plugin.records import Alert, QualityFlag
from broker_plugin.store.backlog import Backlog
from broker_plugin.store.guard import GuardedStore
from broker_plugin.store.history import Rows, joined
from broker_plugin.store.merging import Update, merge
from broker_plugin.times import SECONDS_PER_DAY

__all__ = ["Recollection"]

log = structlog.get_logger(__name__)

BACKLOG_ROWS = 1_000_000
"""Most rows that wait for the store, some 100 MB: what 10,000 alerts bring."""

NO_OBJECT = "no object"
"""A key under which there is never anything: what a store is asked for to find out whether it is back."""

BACKLOG_BATCH = 500
"""Most histories from the backlog that are written with one batch, so that catching up delays no batch by
more than some tens of milliseconds."""


class Recollection:
    """What a stream remembers of its objects.

    Parameters
    ----------
    store
        Where it is kept.
    histories
        The histories of objects.
    contexts
        What catalogues say of them.
    recents
        The strangest alerts of the last hours.
    backlog_rows
        Most rows that wait while the store is away.

    Attributes
    ----------
    store, histories, contexts, recents, backlog
        Its parts, for metrics.
    """

    def __init__(
        self,
        store: GuardedStore,
        histories: Histories,
        contexts: Contexts,
        recents: Recents,
        *,
        backlog_rows: int = BACKLOG_ROWS,
    ) -> None:
        self.store = store
        self.histories = histories
        self.contexts = contexts
        self.recents = recents
        self.backlog = Backlog(rows_max=backlog_rows)
        self._held: dict[str, bytes | None] = {}

    def recall(self, alerts: Sequence[Alert]) -> list[Alert]:
        """Return the alerts with what the store adds, in order; flagged where the store is away."""
        self._held = {}
        if not alerts:
            return []  # what nobody asked the store for is not to be taken for empty
        wanted = (
            *self.histories.keys(alerts),
            *self.contexts.keys(alerts),
            *self.recents.keys(),
            *self.backlog.oldest(BACKLOG_BATCH),
        )
        keys = list(dict.fromkeys(wanted))
        try:
            self._held = self._fetched(keys)
        except StoreError:
            return [_flagged(alert) if self.histories.applies(alert) else alert for alert in alerts]
        with_history = self.histories.recalled(alerts, self._rows_of)
        return self.contexts.recalled(with_history, self._held.get)

    def remember(self, alerts: Sequence[Alert], verdicts: Sequence[Verdict]) -> None:
        """Keep what the alerts of the batch brought, or put it off while the store is away."""
        new = self.histories.brought(alerts)
        for key, rows in self.backlog.take(self._held).items():
            new[key] = joined([rows, new[key]]) if key in new else rows
        ttl_s = self.histories.bounds.days * SECONDS_PER_DAY
        updates = {key: Update(partial(self.histories.merged, new=rows), ttl_s) for key, rows in new.items()}
        try:
            left = merge(self.store, updates | self._recent_updates(verdicts), held=self._held)
        except StoreError:
            left = set(new)
        self.backlog.put({key: rows for key, rows in new.items() if key in left})
        self._held = {}

    def catch_up(self) -> None:
        """Find out whether a store that was away is back, and write some of what waits, while no alert comes.

        Asks nobody where nothing waits and the store was there.
        """
        if self.store.away or len(self.backlog):
            self._catch_up()

    def close(self) -> None:
        """Write what still waits, as far as the store takes it, and let go of the store."""
        while len(self.backlog) and self._catch_up():
            pass
        if len(self.backlog):
            log.warning("history_not_written", objects=len(self.backlog))
        self.store.close()

    def _catch_up(self) -> bool:
        """Write the oldest of what waits, and tell whether any of it was taken."""
        waiting, keys = len(self.backlog), self.backlog.oldest(BACKLOG_BATCH)
        try:
            self._held = self._fetched(keys or [NO_OBJECT])
        except StoreError:
            return False
        self.remember((), ())
        return len(self.backlog) < waiting

    def _recent_updates(self, verdicts: Sequence[Verdict]) -> dict[str, Update]:
        """Return what verdicts add to the slot of now, and read that if it was not read with their batch."""
        updates = self.recents.updates(verdicts) if self._held else {}
        self._held |= self._fetched([key for key in updates if key not in self._held])
        return updates

    def _fetched(self, keys: Sequence[str]) -> dict[str, bytes | None]:
        return dict(zip(keys, self.store.fetch(keys), strict=True)) if keys else {}

    def _rows_of(self, key: str) -> Rows:
        return joined([self.histories.rows_in(self._held.get(key)), self.backlog[key]])


def _flagged(alert: Alert) -> Alert:
    flags = {*alert.flags, QualityFlag.STORE_AWAY}
    return replace(alert, flags=tuple(flag for flag in QualityFlag if flag in flags))
