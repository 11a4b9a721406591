# SPDX-License-Identifier: BSD-3-Clause
"""Clusters within a class, found in the embedding space itself, and whether they are known subclasses.

The encoders never saw the subclasses: they were trained on merged classes. A cluster may be many things, as
the depth of the survey or the number of epochs; the adjusted mutual information with a known subclass says
how much of it is that, and permuted labels say what chance gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, roc_auc_score, silhouette_score

from trainer.downstream.common import over_seeds, plus_minus
from trainer.downstream.confident import MEMBERS_MIN, cross_fitted
from trainer.downstream.table import Embeddings

__all__ = ["KNOWN", "KnownSubclasses", "cluster", "measure_subclasses", "subclass_lines"]

IntArray = NDArray[np.int64]

CLUSTERS_MAX = 6
"""Most clusters that are tried: more than anyone names within one of these classes."""

SILHOUETTE_SAMPLE = 1000
"""Objects that a silhouette is taken of: it costs the square of their number."""

STARTS = 3
"""Starts of k-means, the best of which counts; a few clusters are found from nearly any."""

SUBSAMPLE = 0.8
"""Share of the objects that each seed clusters, so that seeds differ by more than the starting points."""

PERMUTATIONS = 100
"""Draws of chance: p-values down to 1 in 101."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSubclasses:
    """Two subclasses of a class, by the spellings in a column of the embeddings file."""

    name: str
    label: str
    column: Literal["published", "other_type"]
    members: Mapping[str, tuple[str, ...]]


KNOWN = (
    KnownSubclasses(
        name="Blazhko within RRAB",
        label="RRAB",
        column="published",
        members={"Blazhko": ("Blazhko",), "RRab": ("RRab",)},
    ),
    KnownSubclasses(
        name="M and SR within LPV",
        label="LPV",
        column="other_type",
        members={"M": ("M", "M:"), "SR": ("SR", "SR:", "SRA", "SRB")},
    ),
    KnownSubclasses(
        name="EB and EW within EW",
        label="EW",
        column="other_type",
        members={"EB": ("EB", "EB:", "EB/SD"), "EW": ("EW", "EW:", "EW/KW", "EW/KW:")},
    ),
)
"""Blazhko stars are a class of Catalina, the others are types of the General Catalogue of Variable Stars."""


def cluster(vectors: NDArray[np.floating], k: int | None, *, seed: int) -> IntArray:
    """Return the cluster of each row by k-means, (N,); without `k` the number of the best silhouette."""
    if k is not None:
        return np.asarray(KMeans(k, n_init=STARTS, random_state=seed).fit_predict(vectors), np.int64)
    tried = [cluster(vectors, number, seed=seed) for number in range(2, CLUSTERS_MAX + 1)]
    sample = min(SILHOUETTE_SAMPLE, len(vectors))
    return max(
        tried,
        key=lambda found: silhouette_score(vectors, found, sample_size=sample, random_state=seed),
    )


def measure_subclasses(
    table: Embeddings,
    known: KnownSubclasses,
    spaces: Mapping[str, NDArray[np.floating]],
    *,
    seeds: Iterable[int],
    advance: Callable[[int], None] = lambda n: None,
) -> dict[str, Any] | None:
    """Return how far clusters of a class agree with its known subclasses, by space; None for too few members.

    Clusters are of all objects of the class, as one would find them, and once of those alone whose subclass
    is known.

    Parameters
    ----------
    table
        Objects of the class.
    spaces
        Vectors (N, D) of the same objects, by name.
    """
    column = getattr(table, known.column)
    code = np.full(len(table), -1, np.int64)
    for each, spellings in enumerate(known.members.values()):
        code[np.isin(column, spellings)] = each
    counts = np.bincount(code[code >= 0], minlength=len(known.members))
    if counts.min() < MEMBERS_MIN:
        return None
    result: dict[str, Any] = {
        "clustered": len(table),
        "members": dict(zip(known.members, counts.tolist(), strict=True)),
        "by_space": {},
    }
    chosen = list(seeds)
    for name, vectors in spaces.items():
        runs = []
        for seed in chosen:
            runs.append(_agreement(vectors, code, seed=seed))
            advance(1)
        result["by_space"][name] = over_seeds(runs) | {"linear_auroc": _linear(vectors, code, table.group)}
    return result


def subclass_lines(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield measurements as lines to print."""
    for name, result in results.items():
        if result is None:
            yield f"{name}: too few members"
            continue
        members = ", ".join(f"{number:,} {each}" for each, number in result["members"].items())
        yield f"{name}: {members}; {result['clustered']:,} clustered"
        for space, found in result["by_space"].items():
            yield f"  {space:<12} {_line(found)}"


def _line(found: Mapping[str, Any]) -> str:
    return (
        f"AMI {plus_minus(found['ami_2'])} with two clusters, 95 % of chance below "
        f"{found['chance_2_95']['mean']:.3f}, p {found['p_2']['mean']:.3f}; "
        f"{plus_minus(found['ami_of_known'])} of the known ones alone; "
        f"{plus_minus(found['ami'])} with {found['clusters']['mean']:.1f} clusters; "
        f"linear AUROC {found['linear_auroc']:.3f}"
    )


def _agreement(vectors: NDArray[np.floating], code: IntArray, *, seed: int) -> dict[str, float]:
    rng = np.random.default_rng((seed, 51))
    rows = np.sort(rng.choice(len(vectors), round(SUBSAMPLE * len(vectors)), replace=False))
    truth = code[rows]
    known = truth >= 0
    free = cluster(vectors[rows], None, seed=seed)
    two = cluster(vectors[rows], 2, seed=seed)
    ami = _agreement_of(truth[known], two[known])
    chance = np.array([_agreement_of(rng.permutation(truth[known]), two[known]) for _ in range(PERMUTATIONS)])
    return {
        "ami_2": ami,
        "chance_2": float(chance.mean()),
        "chance_2_95": float(np.quantile(chance, 0.95)),
        "p_2": float((1 + (chance >= ami).sum()) / (1 + PERMUTATIONS)),
        "ami": _agreement_of(truth[known], free[known]),
        "clusters": float(free.max() + 1),
        "ami_of_known": _agreement_of(truth[known], cluster(vectors[rows][known], 2, seed=seed)),
    }


def _agreement_of(truth: IntArray, found: IntArray) -> float:
    return float(adjusted_mutual_info_score(truth, found))


def _linear(vectors: NDArray[np.floating], code: IntArray, group: IntArray) -> float:
    """Return the AUROC of a cross-fitted linear classifier: what clusters could find at best, and more."""
    known = code >= 0
    probability = cross_fitted(vectors[known], code[known], group[known], seed=1)
    return float(roc_auc_score(code[known] == 1, probability[:, 1]))
