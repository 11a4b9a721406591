# SPDX-License-Identifier: BSD-3-Clause
"""How many planted label errors an audit finds: labels flipped among classes that are confused.

The catalogue has errors of its own. An audit that finds one of those instead is counted as wrong here, so the
precision is a lower bound; `clean_candidates` says how many labels were doubted before any was flipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from trainer.downstream.common import over_seeds, plus_minus
from trainer.downstream.confident import audit_labels, centroid_distance, cross_fitted

__all__ = ["RANKS", "SHARE", "flipped", "flips_lines", "measure_audit", "precision_at"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SHARE = 0.05
"""Share of the labels that are flipped."""

RANKS = (10, 20, 50, 100, 150)

RANDOM = "at random"


def flipped(
    given: IntArray, probability: FloatArray, rng: np.random.Generator, *, share: float = SHARE
) -> tuple[IntArray, NDArray[np.bool_]]:
    """Return labels of which a share is wrong, and where they are.

    Objects are drawn evenly; each goes to another class as often as its class is taken for that one.

    Parameters
    ----------
    probability
        Out-of-sample class probabilities, which say what is confused: the mean of a class's members.
    """
    n_classes = probability.shape[1]
    confusion = np.stack([probability[given == each].mean(axis=0) for each in range(n_classes)])
    np.fill_diagonal(confusion, 0.0)
    confusion /= confusion.sum(axis=1, keepdims=True)
    rows = rng.choice(len(given), round(share * len(given)), replace=False)
    noisy = given.copy()
    for row in rows:
        noisy[row] = rng.choice(n_classes, p=confusion[given[row]])
    return noisy, noisy != given


def measure_audit(
    spaces: Mapping[str, NDArray[np.floating]],
    bundle_probability: FloatArray,
    given: IntArray,
    group: NDArray[np.int64],
    *,
    paper: str,
    seeds: Iterable[int],
    advance: Callable[[int], None] = lambda n: None,
) -> dict[str, Any]:
    """Return how well planted errors are found, over seeds.

    Parameters
    ----------
    spaces
        Vectors (N, D) by name; each is audited by classifiers cross-fitted on the flipped labels.
    bundle_probability
        Of the bundle, which has learned from other objects' labels, none of them flipped, (N, C).
    paper
        Space of unit vectors in which the paper's finder (distance from the own label's centroid) is tried.
    """
    first = next(iter(spaces.values()))
    clean = cross_fitted(first, given, group, seed=0)
    by_method: dict[str, list[dict[str, float]]] = {}
    candidates: list[dict[str, float]] = []
    for seed in seeds:
        rng = np.random.default_rng((seed, 41))
        noisy, wrong = flipped(given, clean, rng)
        doubts: dict[str, FloatArray] = {}
        for name, vectors in spaces.items():
            audit = audit_labels(cross_fitted(vectors, noisy, group, seed=seed), noisy)
            doubts[f"confident learning, {name}"] = -audit.margin
            if vectors is first:
                candidates.append(
                    _candidates(audit.candidate, audit.suggested, wrong, given, audit.error_rate)
                )
        doubts["margin of the bundle's own probabilities"] = -audit_labels(bundle_probability, noisy).margin
        doubts[f"centroid of the own label, {paper} (the paper's)"] = centroid_distance(
            spaces[paper], noisy, group, seed=seed
        )
        doubts[RANDOM] = rng.random(len(given))
        for name, doubt in doubts.items():
            by_method.setdefault(name, []).append(_found(doubt, wrong))
        advance(1)
    return {
        "flipped_share": SHARE,
        "seeds": len(candidates),
        "clean_candidates": int(audit_labels(clean, given).candidate.sum()),
        "by_method": {name: over_seeds(values) for name, values in by_method.items()},
        "candidates": over_seeds(candidates),
    }


def flips_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield a measurement as lines to print, a line a method."""
    shown = ("precision@10", "precision@50", "precision@100", "precision@all planted", "auroc")
    yield f"{'planted errors found':<48}" + "".join(f"{name:>24}" for name in shown)
    for method, found in result["by_method"].items():
        values = (found.get(name) for name in shown)
        cells = (plus_minus(each) if each else "-" for each in values)
        yield f"{method:<48}" + "".join(f"{cell:>24}" for cell in cells)


def precision_at(doubt: FloatArray, wrong: NDArray[np.bool_], k: int) -> float:
    """Return the share of wrong labels among the `k` most doubted.

    Examples
    --------
    >>> precision_at(np.array([0.9, 0.1, 0.8]), np.array([True, True, False]), 2)
    0.5
    """
    return float(wrong[np.argsort(-doubt, kind="stable")[:k]].mean())


def _found(doubt: FloatArray, wrong: NDArray[np.bool_]) -> dict[str, float]:
    n_wrong = int(wrong.sum())
    ranks = {f"precision@{k}": precision_at(doubt, wrong, k) for k in RANKS if k <= len(wrong)}
    return ranks | {
        "precision@all planted": precision_at(doubt, wrong, n_wrong),
        "average precision": float(average_precision_score(wrong, doubt)),
        "auroc": float(roc_auc_score(wrong, doubt)),
    }


def _candidates(
    candidate: NDArray[np.bool_],
    suggested: IntArray,
    wrong: NDArray[np.bool_],
    given: IntArray,
    error_rate: float,
) -> dict[str, float]:
    """Return how the set of candidates does, beside the ranking."""
    hit = candidate & wrong
    return {
        "number": float(candidate.sum()),
        "precision": float(wrong[candidate].mean()) if candidate.any() else 0.0,
        "recall": float(candidate[wrong].mean()),
        "suggested_is_true": float((suggested == given)[hit].mean()) if hit.any() else 0.0,
        "estimated_error_rate": error_rate,
    }
