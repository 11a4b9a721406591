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

__all__ = ["ANY_TENSE", "Conditions", "Filter", "News", "Retractions"]

News = Literal["new", "changed", "all"]
"""Objects that the subscriber was not told of; objects that were seen with another verdict; every verdict.

The retraction of what the subscriber was told is news, whatever it says by itself."""

Retractions = Literal["told", "all"]
"""Those of what the subscriber was told, and as far as nothing is known those that fit; or every one."""

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
    retractions
        Which retractions come; with `all` those too that take back what nobody was told.
    strangest
        Only what is among the N strangest objects since noon at the telescope, when it comes or later.
    ranked_from_start
        Whether what was emitted before that noon is ranked too, until the next one.
    tense
        `current`: about the sky now; also `archival`, `injection`, `test`, or `any`.
    """

    selection: Selection = field(default_factory=Selection)
    watch: WatchList | None = None
    only: News = "all"
    change_factor: float = CHANGE_FACTOR
    retractions: Retractions = "told"
    strangest: int | None = None
    ranked_from_start: bool = False
    tense: str = "current"

    @property
    def every_retraction_fits(self) -> bool:
        """Tell whether the retraction of what was told comes although that was forgotten."""
        nothing_asked = self.only == "all" and self.strangest is None and self.selection == Selection()
        return self.retractions == "all" or nothing_asked

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
        self._ranking = (
            Ranking(conditions.strangest, from_start=conditions.ranked_from_start)
            if conditions.strangest
            else None
        )
        self._entered: set[str] = set()  # verdicts of the ranking that the subscriber is told of

    @property
    def strangest(self) -> tuple[Verdict, ...]:
        """The ranking as it stands, the strangest first; empty where none was asked for."""
        return self._ranking.verdicts if self._ranking else ()

    @property
    def held(self) -> tuple[Verdict, ...]:
        """The ranking with all that may still enter it."""
        return self._ranking.held if self._ranking else ()

    def told_by(self, verdict: Verdict) -> list[Verdict]:
        """Return what the subscriber is to be told when a verdict comes, in order.

        That is the verdict itself if it is wanted; and what moves up in the ranking for one that left it, if
        the subscriber was not told of that before. What is known of the object is brought up to date.
        """
        wanted = self._conditions
        if not (wanted.has_tense(verdict) and self._is_watched(verdict)):
            return []
        if verdict.is_retraction:
            is_wanted = self._is_heard(verdict)
        else:
            is_news = wanted.only == "all" or self._is_news(verdict)
            is_wanted = wanted.selection.accepts(verdict) and is_news
        told = [verdict] if is_wanted else []
        if self._ranking is None or not (is_wanted or verdict.is_retraction):
            return told
        self._ranking.add(verdict, self._now())
        return [*told, *self._entering()] if verdict.is_retraction else self._entering()

    def watched(self, verdict: Verdict) -> tuple[str, ...]:
        """Return what of the watch list a verdict matches, by the list's names."""
        watch, place = self._conditions.watch, (verdict.ra_deg, verdict.dec_deg)
        return () if watch is None else tuple(watch.matches(verdict.object_id, *place))

    def told(self, verdict: Verdict) -> None:
        """Note that the subscriber has finished with a verdict."""
        if verdict.is_retraction:
            self._memory.forget_told(verdict.alert_key)
            if _is_of(self._memory.of(verdict.object_id), verdict):
                self._memory.forget(verdict.object_id)  # another verdict on the object is news again
        else:
            self._memory.note_told(verdict.alert_key)
            if self._remembers:
                self._memory.note(verdict.object_id, _known(verdict, told=True))

    @property
    def _remembers(self) -> bool:
        return self._conditions.only != "all" or self._ranking is not None

    def _is_watched(self, verdict: Verdict) -> bool:
        return self._conditions.watch is None or bool(self.watched(verdict))

    def _entering(self) -> list[Verdict]:
        """Return what stands in the ranking untold, which counts as told from then on."""
        entering = [v for v in self.strangest if v.verdict_id not in self._entered]
        told = self._entered | {v.verdict_id for v in entering}
        self._entered = {v.verdict_id for v in self.held if v.verdict_id in told}
        return entering

    def _is_heard(self, verdict: Verdict) -> bool:
        """Tell whether a retraction is news: of what the subscriber was told of, always.

        Its own class and p-value do not matter then: another bundle may have found others.
        """
        wanted = self._conditions
        if wanted.retractions == "all" or self._memory.was_told(verdict.alert_key):
            return True
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
