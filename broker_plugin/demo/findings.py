# SPDX-License-Identifier: BSD-3-Clause
"""What a played night shows: ranks, what was planted found and missed, confusion, dead letters.

Everything here is computed from verdicts that were read back from the output topic, so nothing can be shown
that was not scored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from broker_plugin.codec.verdict import Verdict
from broker_plugin.demo.simulator import Night, SimulatedObject
from broker_plugin.engine.explanation import counted
from broker_plugin.pipeline.selection import strangeness
from broker_plugin.records import LightCurve

__all__ = [
    "FOUND_FACTOR",
    "HISTOGRAM_BINS",
    "Confusion",
    "DeadLetter",
    "PlantedOutcome",
    "Playback",
    "ScoredObject",
    "confusion",
    "found_by_chance",
    "found_limit",
    "p_value_histogram",
    "planted_outcomes",
    "planted_sentence",
    "rank_objects",
]

FOUND_FACTOR = 2
"""A planted object counts as found if it is among the strangest K stellar objects, K being this times the
number planted: what an astronomer would get through, fixed before any night was looked at."""

HISTOGRAM_BINS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that could not become a verdict."""

    reason: str
    detail: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """A night that was played through the consumer.

    Parameters
    ----------
    verdicts
        As read back from the output topic, in order of arrival.
    light_curves
        What each alert's verdict was made from, by `alert_key`.
    origins
        Partition and offset on the input topic of the message that each record that came out is of.
    played
        Messages sent to the input topic.
    night
        The simulated night, None where real packets were played.
    """

    verdicts: Sequence[Verdict]
    light_curves: Mapping[str, LightCurve]
    dead_letters: Sequence[DeadLetter]
    origins: Sequence[tuple[int, int]]
    played: int
    seconds: float
    night: Night | None = None

    @property
    def adds_up(self) -> bool:
        """Tell whether every message played came back, once: as a verdict or as a dead letter."""
        came = len(self.verdicts) + len(self.dead_letters)
        return self.played == came == len(self.origins) == len(set(self.origins))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredObject:
    """An object, with the strangest of its verdicts; `rank` counts from 1."""

    rank: int
    verdict: Verdict
    n_alerts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedOutcome:
    """What became of a planted oddity; ranks are None where it was not scored."""

    thing: SimulatedObject
    found: bool
    stellar_rank: int | None
    rank: int | None
    verdict: Verdict | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Objects by simulated class (rows) and most probable class (columns)."""

    classes: tuple[str, ...]
    counts: NDArray[np.int64] = field(repr=False)

    @property
    def accuracy(self) -> float | None:
        """Share of objects on the diagonal."""
        total = int(self.counts.sum())
        return float(np.trace(self.counts)) / total if total else None


def rank_objects(verdicts: Sequence[Verdict]) -> list[ScoredObject]:
    """Return every object once, the strangest first."""
    best: dict[str, Verdict] = {}
    for verdict in sorted(verdicts, key=strangeness):
        best.setdefault(verdict.object_id, verdict)
    alerts = Counter(verdict.object_id for verdict in verdicts)
    return [
        ScoredObject(rank=rank, verdict=verdict, n_alerts=alerts[name])
        for rank, (name, verdict) in enumerate(best.items(), start=1)
    ]


def found_limit(n_planted: int) -> int:
    """Return K: how many of the strangest stellar objects are looked through for the planted ones."""
    return FOUND_FACTOR * n_planted


def found_by_chance(n_planted: int, n_stellar: int) -> float:
    """Return how many of the planted objects would be found on average among as many drawn blindly.

    Examples
    --------
    >>> found_by_chance(16, 320), found_by_chance(16, 20)
    (1.6, 16.0)
    """
    return n_planted * min(1.0, found_limit(n_planted) / n_stellar) if n_stellar else 0.0


def planted_sentence(night: Night, ranked: Sequence[ScoredObject]) -> str:
    """Return what became of the planted oddities in one sentence, beside what chance would find."""
    outcomes = planted_outcomes(night, ranked)
    n_planted, limit = len(outcomes), found_limit(len(outcomes))
    n_stellar = sum(scored.verdict.class_applies for scored in ranked)
    if n_stellar <= limit:
        return (
            f"Too short a night to judge by: {counted(n_stellar, 'star')} got a verdict, and "
            f"the {limit} strangest are looked through for the {n_planted} planted oddities."
        )
    n_found = sum(outcome.found for outcome in outcomes)
    return (
        f"{n_found} of {n_planted} planted oddities are among the {limit} strangest of {n_stellar} stars, "
        f"where chance finds {found_by_chance(n_planted, n_stellar):.1f}; the report shows which were missed."
    )


def planted_outcomes(night: Night, ranked: Sequence[ScoredObject]) -> list[PlantedOutcome]:
    """Return the planted objects, the strangest first.

    Ranked among the stellar objects, since the p-values are calibrated on stars: outside, a low one says that
    something is no star, which the packet says already.
    """
    stellar = [scored for scored in ranked if scored.verdict.class_applies]
    stellar_rank = {scored.verdict.object_id: rank for rank, scored in enumerate(stellar, start=1)}
    by_id = {scored.verdict.object_id: scored for scored in ranked}
    limit = found_limit(len(night.planted))
    outcomes = []
    for name, thing in night.planted.items():
        scored = by_id.get(name)
        place = stellar_rank.get(name)
        outcomes.append(
            PlantedOutcome(
                thing=thing,
                found=place is not None and place <= limit,
                stellar_rank=place,
                rank=scored.rank if scored is not None else None,
                verdict=scored.verdict if scored is not None else None,
            )
        )
    return sorted(outcomes, key=lambda outcome: (outcome.stellar_rank is None, outcome.stellar_rank or 0))


def confusion(night: Night, verdicts: Sequence[Verdict]) -> Confusion:
    """Count objects by simulated and most probable class, by each object's last verdict.

    Only where the classes apply, and without the planted objects: those are not what they seem.
    """
    last = {
        verdict.object_id: verdict.top_class
        for verdict in sorted(verdicts, key=lambda verdict: verdict.mjd_tai)
        if verdict.class_applies and verdict.top_class is not None
    }
    truth = {
        name: thing.source.label
        for name, thing in night.objects.items()
        if thing.source.label is not None and thing.source.planted is None
    }
    classes = tuple(dict.fromkeys(name for verdict in verdicts for name in verdict.class_probabilities))
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for name, label in truth.items():
        if name in last and label in classes:
            counts[classes.index(label), classes.index(last[name])] += 1
    return Confusion(classes=classes, counts=counts)


def p_value_histogram(p_values: Sequence[float]) -> NDArray[np.int64]:
    """Return counts in equal bins from 0 to 1; a p-value on an edge belongs to the bin below it."""
    edges = np.linspace(0.0, 1.0, HISTOGRAM_BINS + 1)
    places = np.clip(np.searchsorted(edges, np.asarray(p_values), side="left") - 1, 0, HISTOGRAM_BINS - 1)
    return np.bincount(places, minlength=HISTOGRAM_BINS).astype(np.int64)
