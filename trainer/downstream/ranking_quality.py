# SPDX-License-Identifier: BSD-3-Clause
"""How good rankings are: whether odd objects come first, and whether p-values say how rare a score is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.downstream.common import over_seeds, plus_minus
from trainer.downstream.ranking import Ranked, Ranking
from trainer.downstream.table import Embeddings
from trainer.metrics import auroc
from trainer.stream.measure import LEVELS, uniformity

__all__ = ["measure_rankings", "ranking_lines"]

TOP_SHARES = (0.01, 0.05, 0.15)
"""Shares of the objects that are followed up; the last is that of the MCIF paper's 2,000 of 12,094."""

TEST_MIN = 20
"""Fewest ordinary objects of a stratum to test p-values on: a share of 0.1 is known to 0.07 then."""


def measure_rankings(
    table: Embeddings, label: NDArray[np.int64], rankings: Iterable[Ranking]
) -> dict[str, Any]:
    """Return how well objects of unknown classes (label -1) are found, and whether p-values are right.

    Parameters
    ----------
    table, label
        Objects, and the codes of their classes.
    rankings
        Of the same objects, by other seeds.
    """
    odd = label < 0
    found: dict[str, list[dict[str, float]]] = {}
    strata: dict[str, list[NDArray[np.float64]]] = {}
    sizes: dict[str, int] = {}
    for ranking in rankings:
        for name, ranked in (("one forest", ranking.of_all), ("class forests", ranking.of_classes)):
            if odd.any():
                found.setdefault(name, []).append(_found(ranked.order(), ranked, odd, table.published))
            for stratum in np.unique(ranking.stratum[~odd]).tolist():
                inside = ~odd & (ranking.stratum == stratum)
                strata.setdefault(f"{name}, {stratum}", []).append(ranked.p_value[inside])
                sizes[f"{name}, {stratum}"] = int(ranking.calibration_n[inside].min())
    result: dict[str, Any] = {
        "odd_objects": {
            name: int((table.published[odd] == name).sum()) for name in np.unique(table.published[odd])
        },
        "found": {name: over_seeds(values) for name, values in found.items()},
        "p_values": {name: _uniformity(values, sizes[name]) for name, values in strata.items()},
    }
    if odd.any():
        doubt = 1.0 - table.probability.max(axis=1)
        result["auroc_of_the_bundle"] = auroc(table.anomaly_score[~odd], table.anomaly_score[odd])
        result["auroc_of_low_confidence"] = auroc(doubt[~odd], doubt[odd])
    return result


def ranking_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield a measurement as lines to print."""
    for name, found in result["found"].items():
        yield f"{name}: " + ", ".join(f"{what} {plus_minus(each)}" for what, each in found.items())
    if result["found"]:
        yield (
            f"the bundle's score: auroc {result['auroc_of_the_bundle']:.3f}; "
            f"low confidence: {result['auroc_of_low_confidence']:.3f}"
        )
    for name, each in result["p_values"].items():
        if each["measured"] is None:
            yield f"p-values, {name}: {each['tested_n']} objects, too few to test"
            continue
        found = each["measured"]
        shares = ", ".join(
            f"{found[f'share_{level}']['mean']:.4f} at {level}"
            for level in LEVELS
            if f"share_{level}" in found
        )
        yield f"p-values, {name} (n >= {each['calibration_n']}): {shares}; KS {found['ks']['mean']:.3f}"


def _uniformity(values: list[NDArray[np.float64]], calibration_n: int) -> dict[str, Any]:
    n = min(len(p) for p in values)
    measured = over_seeds([uniformity(p, calibration_n) for p in values]) if n >= TEST_MIN else None
    return {"tested_n": n, "calibration_n": calibration_n, "measured": measured}


def _found(
    order: NDArray[np.intp], ranked: Ranked, odd: NDArray[np.bool_], published: NDArray[np.str_]
) -> dict[str, float]:
    """Return AUROC of the order, in all and by class, and the share of odd objects in its first parts."""
    place = np.empty(len(order))
    place[order] = -np.arange(len(order))
    found = {"auroc": auroc(place[~odd], place[odd])}
    for name in np.unique(published[odd]).tolist():
        found[f"auroc of {name}"] = auroc(place[~odd], place[odd & (published == name)])
    for share in TOP_SHARES:
        top = order[: max(1, round(share * len(order)))]
        found[f"recall in the top {share:.0%}"] = float(odd[top].sum() / odd.sum())
        found[f"precision in the top {share:.0%}"] = float(odd[top].mean())
    for level in LEVELS:
        found[f"recall at p <= {level}"] = float((ranked.p_value[odd] <= level).mean())
    return found
