# SPDX-License-Identifier: BSD-3-Clause
"""Which verdicts a subscriber is told of: conditions on the verdict, a watch list, and what is news."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from broker_plugin.client.memory import CHANGE_FACTOR, Known, ObjectMemory, differs
from broker_plugin.client.watch import WatchList
from broker_plugin.codec.verdict import Verdict
from broker_plugin.pipeline.selection import Ranking, Selection

__all__ = ["ANY_TENSE", "Conditions", "Filter", "News"]

News = Literal["new", "changed", "all"]
"""Objects that the subscriber was not told of; objects that were seen with another verdict; every verdict.

The retraction of what the subscriber was told is news to the first two, whatever it says by itself."""

ANY_TENSE = "any"
"""Stands for every tense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a verdict must be, all of it, for the subscriber to be told.

    Parameters
    ----------
    selection
        Classes, probability, p-value and source context.
    watch
        Objects and places; None for the whole sky.
    only
        Which of an object's verdicts are news.
    change_factor
        Factor between p-values that makes a verdict another one, beside another top class.
    strangest
        Only what is among the N strangest objects since noon at the telescope when it comes.
    ranked_from_start
        Whether what was emitted before that noon is ranked too, until the next one.
    tense
        `current`: about the sky now; also `archival`, `injection`, `test`, or `any`.
    """

    selection: Selection = field(default_factory=Selection)
    watch: WatchList | None = None
    only: News = "all"
    change_factor: float = CHANGE_FACTOR
    strangest: int | None = None
    ranked_from_start: bool = False
    tense: str = "current"

    def has_tense(self, verdict: Verdict) -> bool:
        """Tell whether a verdict is of the tense that is asked for."""
        return self.tense in (ANY_TENSE, str(verdict.tense))


class Filter:
    """Applies conditions to verdicts in the order in which they come.

    Parameters
    ----------
    conditions
        The conditions.
    memory
        What is known of the objects.
    now
        The time, with its time zone.
    """

    def __init__(
        self,
        conditions: Conditions,
        memory: ObjectMemory,
        *,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self._conditions = conditions
        self._memory = memory
        self._now = now
        self.watched: tuple[str, ...] = ()  # what of the watch list the last verdict matches
        self._ranking = (
            Ranking(conditions.strangest, from_start=conditions.ranked_from_start)
            if conditions.strangest
            else None
        )

    @property
    def strangest(self) -> tuple[Verdict, ...]:
        """The ranking as it stands, the strangest first; empty where none was asked for."""
        return self._ranking.verdicts if self._ranking else ()

    def accepts(self, verdict: Verdict) -> bool:
        """Tell whether the subscriber is to be told; what is known of the object is brought up to date."""
        wanted = self._conditions
        if not (wanted.has_tense(verdict) and self._is_watched(verdict)):
            return False
        if verdict.is_retraction:
            return self._takes_back(verdict)
        news = wanted.only == "all" or self._is_news(verdict)
        if not (wanted.selection.accepts(verdict) and news):
            return False
        if self._ranking is None:
            return True
        return self._ranking.add(verdict, self._now()) and verdict in self._ranking.verdicts

    def told(self, verdict: Verdict) -> None:
        """Note that the subscriber has finished with a verdict."""
        if not self._remembers:
            return
        if not verdict.is_retraction:
            self._memory.note(verdict.object_id, _known(verdict, told=True))
        elif _is_of(self._memory.of(verdict.object_id), verdict):
            self._memory.forget(verdict.object_id)  # another verdict on the object is news again

    @property
    def _remembers(self) -> bool:
        return self._conditions.only != "all" or self._ranking is not None

    def _is_watched(self, verdict: Verdict) -> bool:
        watch = self._conditions.watch
        place = verdict.ra_deg, verdict.dec_deg
        self.watched = () if watch is None else tuple(watch.matches(verdict.object_id, *place))
        return watch is None or bool(self.watched)

    def _takes_back(self, verdict: Verdict) -> bool:
        """Tell whether a retraction is news: of an object that the subscriber was told of, always.

        Its own class and p-value do not matter then: another bundle may have found others.
        """
        wanted = self._conditions
        if self._ranking is not None:
            self._ranking.add(verdict, self._now())
        known = self._memory.of(verdict.object_id)
        if known is not None and known.told:
            return True
        is_seen = _is_of(known, verdict) if wanted.only == "changed" else not self._remembers
        return is_seen and wanted.selection.accepts(verdict)

    def _is_news(self, verdict: Verdict) -> bool:
        """Tell whether a verdict is news.

        One that nobody is told of moves the mark all the same: an object that leaves a class and comes back
        has changed.
        """
        known = self._memory.of(verdict.object_id)
        changed = known is not None and differs(verdict, known, factor=self._conditions.change_factor)
        if self._conditions.only == "new":
            return known is None or not known.told
        if known is None or (changed and not self._conditions.selection.accepts(verdict)):
            self._memory.note(verdict.object_id, _known(verdict, told=known is not None and known.told))
        return changed


def _known(verdict: Verdict, *, told: bool) -> Known:
    return Known(
        top_class=verdict.top_class,
        p_value=verdict.anomaly_p_value,
        told=told,
        alert_key=verdict.alert_key,
    )


def _is_of(known: Known | None, retraction: Verdict) -> bool:
    """Tell whether what is known of an object is what a retraction takes back."""
    return known is not None and known.alert_key in ("", retraction.alert_key)
