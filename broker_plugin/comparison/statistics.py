# SPDX-License-Identifier: BSD-3-Clause
"""How the verdicts of two bundles on the same alerts differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.comparison.verdicts import ByKey, Seen
from broker_plugin.distributions import ks_between, ks_from_uniform, rank_correlation
from broker_plugin.errors import ConfigurationError

__all__ = ["BINS", "Changed", "Comparison", "Overlap", "Side", "compare_verdicts"]

FloatArray = NDArray[np.float64]

BINS = 20
"""Bins of the histograms of probabilities and p-values, between 0 and 1."""

STRANGEST = (10, 30, 100, 300)
"""Sizes of the lists of strangest alerts whose overlap is told."""

N_CHANGED = 20
"""Alerts that are named for having changed most."""

N_POINTS = 1500
"""Alerts that the page draws as points; more only grow the file."""

QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One bundle's verdicts on the alerts that both have seen.

    Parameters
    ----------
    duplicates
        Verdicts on an alert that had one already, in all that was read.
    p_values, top_probabilities
        Histograms of `BINS` equal bins.
    shares
        Share of p-values at or below a level, by level.
    ks_from_uniform
        Largest distance of the p-values' distribution from a uniform one.
    latency_s
        From reception to the verdict, by quantile; empty where the verdicts are of files.
    """

    bundles: list[str]
    n: int
    only_here: int
    duplicates: int
    p_values: list[int]
    top_probabilities: list[int]
    shares: dict[str, float]
    ks_from_uniform: float
    latency_s: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How many alerts are among the `n` strangest of both, and how many would be by chance."""

    n: int
    shared: int
    by_chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """An alert whose class probabilities changed much."""

    alert_key: str
    object_id: str
    distance: float
    top_class: tuple[str | None, str | None]
    p_value: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two bundles on the alerts that both have seen.

    Parameters
    ----------
    same_inputs
        Share of alerts of which both read the same epochs and context.
    n_classified, agreement, kappa
        Alerts to which both give a class, the share with the same, and Cohen's kappa; None without any.
    confusion
        First bundle's classes in rows, the second's in columns.
    distance
        Total variation distance between class probabilities, by quantile.
    rank_correlation
        Spearman's, of the anomaly scores.
    ks_between
        Largest distance between the two distributions of p-values.
    points
        p-values (first, second) of some alerts.
    """

    first: Side
    second: Side
    n: int
    same_inputs: float
    classes: list[str]
    n_classified: int
    agreement: float | None
    kappa: float | None
    confusion: list[list[int]]
    distance: dict[str, float]
    rank_correlation: float | None
    ks_between: float
    overlaps: list[Overlap]
    changed: list[Changed]
    points: list[tuple[float, float]]


def compare_verdicts(first: ByKey, second: ByKey) -> Comparison:
    """Compare verdicts by alert.

    Parameters
    ----------
    first, second
        Verdicts by `alert_key`, and how many more there were on the same alerts.

    Raises
    ------
    ConfigurationError
        If no alert has a verdict of both.
    """
    (ours, our_duplicates), (theirs, their_duplicates) = first, second
    keys = sorted(ours.keys() & theirs.keys())
    if not keys:
        raise ConfigurationError(
            f"no alert has a verdict of both: {len(ours)} in the first, {len(theirs)} in the second; were "
            "they made from the same alerts?"
        )
    a, b = [ours[key] for key in keys], [theirs[key] for key in keys]
    names = sorted({name for verdict in (*a, *b) for name in verdict.class_probabilities})
    distance = 0.5 * np.abs(_probabilities(a, names) - _probabilities(b, names)).sum(axis=1)
    p_a, p_b = _column(a, "anomaly_p_value"), _column(b, "anomaly_p_value")
    confusion = _confusion(a, b, names)
    agreement, kappa = _agreement(confusion)
    order = np.argsort(-distance, kind="stable")[:N_CHANGED].tolist()
    step = max(1, len(keys) // N_POINTS)
    return Comparison(
        first=_side(a, len(ours) - len(keys), our_duplicates),
        second=_side(b, len(theirs) - len(keys), their_duplicates),
        n=len(keys),
        same_inputs=float(np.mean([x.inputs_digest == y.inputs_digest for x, y in zip(a, b, strict=True)])),
        classes=names,
        n_classified=int(confusion.sum()),
        agreement=agreement,
        kappa=kappa,
        confusion=confusion.tolist(),
        distance=_quantiles(distance),
        rank_correlation=rank_correlation(_column(a, "anomaly_score"), _column(b, "anomaly_score")),
        ks_between=ks_between(p_a, p_b),
        overlaps=_overlaps(a, b),
        changed=[_changed(a[row], b[row], float(distance[row])) for row in order if distance[row] > 0],
        points=[(float(x), float(y)) for x, y in zip(p_a[::step], p_b[::step], strict=True)],
    )


def _side(verdicts: Sequence[Seen], only_here: int, duplicates: int) -> Side:
    p = _column(verdicts, "anomaly_p_value")
    top = np.array([max(verdict.class_probabilities.values(), default=0.0) for verdict in verdicts])
    return Side(
        bundles=sorted({f"{each.bundle_name} {each.bundle_digest[:12]}" for each in verdicts}),
        n=len(verdicts),
        only_here=only_here,
        duplicates=duplicates,
        p_values=_histogram(p),
        top_probabilities=_histogram(top),
        shares={f"{level:g}": float((p <= level).mean()) for level in (0.01, 0.05, 0.1)},
        ks_from_uniform=ks_from_uniform(p),
        latency_s=_latencies(verdicts),
    )


def _latencies(verdicts: Sequence[Seen]) -> dict[str, float]:
    known = [each.latency_s for each in verdicts if each.latency_s is not None]
    return _quantiles(np.array(known)) if known else {}


def _changed(one: Seen, other: Seen, distance: float) -> Changed:
    return Changed(
        alert_key=one.alert_key,
        object_id=one.object_id,
        distance=distance,
        top_class=(one.top_class, other.top_class),
        p_value=(one.anomaly_p_value, other.anomaly_p_value),
    )


def _probabilities(verdicts: Sequence[Seen], names: Sequence[str]) -> FloatArray:
    return np.array([[verdict.class_probabilities.get(name, 0.0) for name in names] for verdict in verdicts])


def _column(verdicts: Sequence[Seen], name: str) -> FloatArray:
    return np.array([getattr(verdict, name) for verdict in verdicts], np.float64)


def _histogram(values: FloatArray) -> list[int]:
    return [int(n) for n in np.histogram(values, bins=BINS, range=(0.0, 1.0))[0]]


def _quantiles(values: FloatArray) -> dict[str, float]:
    return {f"{level:g}": float(np.quantile(values, level)) for level in QUANTILES}


def _confusion(a: Sequence[Seen], b: Sequence[Seen], names: Sequence[str]) -> NDArray[np.int64]:
    place = {name: position for position, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), np.int64)
    for one, other in zip(a, b, strict=True):
        if one.top_class is not None and other.top_class is not None:
            counts[place[one.top_class], place[other.top_class]] += 1
    return counts


def _agreement(confusion: NDArray[np.int64]) -> tuple[float | None, float | None]:
    total = confusion.sum()
    if not total:
        return None, None
    agreed = float(np.trace(confusion) / total)
    by_chance = float((confusion.sum(axis=0) * confusion.sum(axis=1)).sum() / total**2)
    return agreed, (agreed - by_chance) / (1.0 - by_chance) if by_chance < 1.0 else None


def _overlaps(a: Sequence[Seen], b: Sequence[Seen]) -> list[Overlap]:
    ranked = [
        np.lexsort((-_column(side, "anomaly_score"), _column(side, "anomaly_p_value"))) for side in (a, b)
    ]
    return [
        Overlap(
            n=n, shared=len({*ranked[0][:n].tolist()} & {*ranked[1][:n].tolist()}), by_chance=n * n / len(a)
        )
        for n in STRANGEST
        if n < len(a)
    ]
