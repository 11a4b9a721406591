# SPDX-License-Identifier: BSD-3-Clause
"""Keeps the embeddings of the strangest verdicts for some hours, and notes which of them are withdrawn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.records import Access
from broker_plugin.store.merging import Update
from broker_plugin.store.recent import Recent, merged_recents, merged_withdrawn, slot_keys, withdrawn_keys

__all__ = ["Recents"]

P_VALUE_MAX = 0.1
"""Alerts that are less strange are not kept. A batch without any writes nothing."""


class Recents:
    """The strangest alerts of the last hours, between verdicts and stored values. Knows no store.

    Parameters
    ----------
    access
        What the readers of the verdicts may see.
    hours
        How long they are kept; 0 for not at all.
    now
        Unix time, s.
    """

    def __init__(
        self, *, access: frozenset[Access], hours: float, now: Callable[[], float] = time.time
    ) -> None:
        self.hours = hours
        self._access = access
        self._now = now
        self._digest = ""

    def keys(self) -> list[str]:
        """Return the key of the current slot, once a verdict has said of which bundle."""
        return slot_keys(self._digest, self._access, now=self._now()) if self._digest else []

    def updates(self, verdicts: Sequence[Verdict]) -> dict[str, Update]:
        """Return what verdicts add to the slots of now, by their keys."""
        if not (verdicts and self.hours):
            return {}
        self._digest = verdicts[-1].bundle_digest
        current = [verdict for verdict in verdicts if verdict.tense is Tense.CURRENT]
        withdrawn = [verdict.alert_key for verdict in current if verdict.is_retraction]
        kept = [
            _recent(verdict)
            for verdict in current
            if not verdict.is_retraction
            and verdict.embedding is not None
            and verdict.anomaly_p_value <= P_VALUE_MAX
            and verdict.bundle_digest == self._digest
        ]
        ttl_s = self.hours * 3600.0
        alerts = {key: Update(partial(merged_recents, new=kept), ttl_s) for key in self.keys() if kept}
        notes = withdrawn_keys(self._access, now=self._now()) if withdrawn else []
        return alerts | {key: Update(partial(merged_withdrawn, new=withdrawn), ttl_s) for key in notes}


def _recent(verdict: Verdict) -> Recent:
    return Recent(
        alert_key=verdict.alert_key,
        object_id=verdict.object_id,
        mjd_tai=verdict.mjd_tai,
        p_value=verdict.anomaly_p_value,
        top_class=verdict.top_class,
        source_context=verdict.source_context,
        embedding=np.array(verdict.embedding, np.float16),
    )
