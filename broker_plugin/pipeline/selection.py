# SPDX-License-Identifier: BSD-3-Clause
"""Which verdicts a reader wants, and the strangest of a night."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, islice

from broker_plugin.codec.verdict import Verdict
from broker_plugin.nights import SITES, last_noon
from broker_plugin.taxonomy import CLASSES, canonical_class

__all__ = ["ANY_CONTEXT", "Ranking", "Selection", "has_changed", "strangeness", "unknown_names"]

ANY_CONTEXT = "any"
"""Stands for every source context."""

SPARE = 100
"""Objects behind a ranking that take the places of those whose alerts are withdrawn. With fewer, a night with
many retractions ends with a shorter ranking."""

PER_OBJECT = 4
"""Alerts of an object that are held, its strangest: as many as a survey sends of a field in most nights. With
fewer an object leaves although alerts of it stand; each more is half a megabyte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Conditions on a verdict, all of which must hold.

    Parameters
    ----------
    classes
        Classes by their name, a catalogue's spelling, or a kind of classes (`pulsating`); none for any.
    min_probability
        Least probability of one of those classes, or of the top class where none is named. Without it the top
        class must be one of them.
    max_p_value
        Largest anomaly p-value.
    min_brightening_mag
        By how much the detection is brighter than what the reference image has there, at least.
    context
        Source context, or `any`.
    """

    classes: tuple[str, ...] = ()
    min_probability: float | None = None
    max_p_value: float | None = None
    min_brightening_mag: float | None = None
    context: str = ANY_CONTEXT

    def accepts(self, verdict: Verdict) -> bool:
        """Tell whether a verdict is wanted."""
        if self.context not in (ANY_CONTEXT, verdict.source_context):
            return False
        if self.max_p_value is not None and verdict.anomaly_p_value > self.max_p_value:
            return False
        if self.min_brightening_mag is not None and not self._has_brightened(verdict):
            return False
        if not self.classes and self.min_probability is None:
            return True
        if not verdict.class_applies:
            return False
        wanted = _members(self.classes, verdict.class_probabilities)
        if self.min_probability is None:
            return verdict.top_class in wanted
        if not self.classes:
            return (verdict.top_class_probability or 0.0) >= self.min_probability
        return any(verdict.class_probabilities[name] >= self.min_probability for name in wanted)

    def _has_brightened(self, verdict: Verdict) -> bool:
        change = verdict.reference_change_mag
        return change is not None and -change >= (self.min_brightening_mag or 0.0)

    def unknown(self, verdict: Verdict) -> list[str]:
        """Return the named classes that a verdict's taxonomy does not have."""
        return [name for name in self.classes if not _members((name,), verdict.class_probabilities)]


class Ranking:
    """The strangest objects since noon: smallest p-values, ties by score; each object once.

    Noon is that at the telescope of the verdict's survey, wherever the reader is: no night is cut in two.
    An object stands there with its strangest verdict, until a retraction takes that one back; then with the
    strangest on its other alerts. One that was listed in an earlier night returns only if it changed, see
    `has_changed`: an astronomer who looked at it yesterday need not look again.

    Parameters
    ----------
    size
        How many are kept.
    from_start
        Whether what was emitted before the last noon counts too, until the next one: for a reader who asked
        to begin in the past.
    """

    def __init__(self, size: int, *, from_start: bool = False) -> None:
        self._size = size
        self._from_start = from_start
        self._begun: datetime | None = None  # when the first verdict came
        self._held: dict[str, list[Verdict]] = {}  # of each object, with those behind; the strangest first
        self._listed: dict[str, Verdict] = {}  # the strangest that was listed of each object, earlier nights

    def add(self, verdict: Verdict, now: datetime) -> bool:
        """Take a verdict in; return whether the ranking changed.

        Parameters
        ----------
        verdict
            One that was emitted before the last noon, or has no news of its object, changes nothing. A
            retraction takes away the verdict on the alert which is withdrawn.
        now
            The time, with its time zone. When a survey's noon has passed, its ranking begins anew.
        """
        self._begun = self._begun or now
        before = self.verdicts
        self._end_nights(now)
        if verdict.is_retraction:
            self._keep(lambda held: held.alert_key != verdict.alert_key)
            self._listed = {n: v for n, v in self._listed.items() if v.alert_key != verdict.alert_key}
        elif verdict.emitted_at >= self._begin(verdict.survey, now) and self._is_news(verdict):
            self._take_in(verdict)
        return [v.verdict_id for v in before] != [v.verdict_id for v in self.verdicts]

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The strangest first."""
        return tuple(each[0] for each in islice(self._held.values(), self._size))

    @property
    def held(self) -> tuple[Verdict, ...]:
        """Those and all that may take their places."""
        return tuple(chain.from_iterable(self._held.values()))

    def _end_nights(self, now: datetime) -> None:
        begins = {survey: self._begin(survey, now) for survey in {v.survey for v in self.held}}
        self._remember(v for v in self.verdicts if v.emitted_at < begins[v.survey])
        self._keep(lambda held: held.emitted_at >= begins[held.survey])

    def _begin(self, survey: str, now: datetime) -> datetime:
        """Return from when on verdicts count."""
        # A survey that a later version added has no telescope here: its last day counts.
        noon = last_noon(survey, now) if survey in SITES else now - timedelta(days=1)
        is_first_night = self._begun is not None and noon <= self._begun
        return datetime.min.replace(tzinfo=UTC) if self._from_start and is_first_night else noon

    def _is_news(self, verdict: Verdict) -> bool:
        tonight = (v for v in self._held.get(verdict.object_id, ()) if v.alert_key == verdict.alert_key)
        known = (*tonight, *filter(None, [self._listed.get(verdict.object_id)]))
        return all(has_changed(verdict, since=earlier) for earlier in known)

    def _take_in(self, verdict: Verdict) -> None:
        others = [v for v in self._held.get(verdict.object_id, ()) if v.alert_key != verdict.alert_key]
        # Of two that are as strange the one that came first stays before the other, which is no news.
        of_object = sorted([*others, verdict], key=lambda v: strangeness(v)[:2])[:PER_OBJECT]
        self._rank(self._held | {verdict.object_id: of_object})

    def _keep(self, is_kept: Callable[[Verdict], bool]) -> None:
        if all(map(is_kept, self.held)):
            return
        kept = {name: [v for v in each if is_kept(v)] for name, each in self._held.items()}
        self._rank({name: each for name, each in kept.items() if each})

    def _rank(self, held: dict[str, list[Verdict]]) -> None:
        ranked = sorted(held.items(), key=lambda entry: strangeness(entry[1][0]))
        self._held = dict(ranked[: self._size + SPARE])

    def _remember(self, verdicts: Iterable[Verdict]) -> None:
        for verdict in verdicts:
            earlier = self._listed.get(verdict.object_id)
            if earlier is None or strangeness(verdict) < strangeness(earlier):
                self._listed[verdict.object_id] = verdict


def has_changed(verdict: Verdict, *, since: Verdict) -> bool:
    """Tell whether an object became stranger than an earlier verdict said, by something new.

    Its inputs differ (another epoch, another context), and its p-value fell; where the p-value is as small as
    the calibration can say, the score rose.
    """
    return verdict.inputs_digest != since.inputs_digest and strangeness(verdict) < strangeness(since)


def unknown_names(classes: Iterable[str]) -> list[str]:
    """Return the names that are no class, spelling or kind of classes of the taxonomy.

    Examples
    --------
    >>> unknown_names(["rrab", "pulsating", "FOO"])
    ['FOO']
    """
    known = [entry.name for entry in CLASSES]
    return [name for name in classes if not _members((name,), known)]


def strangeness(verdict: Verdict) -> tuple[float, float, str]:
    """Return a key that sorts the strangest first; equal p-values are told apart by the score."""
    return verdict.anomaly_p_value, -verdict.anomaly_score, verdict.alert_key


def _members(wanted: Iterable[str], classes: Iterable[str]) -> set[str]:
    names = {name.casefold() for name in wanted} | {
        (canonical_class(name) or "").casefold() for name in wanted
    }
    kinds = {entry.name: entry.parent.casefold() for entry in CLASSES}
    return {name for name in classes if name.casefold() in names or kinds.get(name) in names}
