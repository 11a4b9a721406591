# SPDX-License-Identifier: BSD-3-Clause
"""Class precision among nearest neighbours: of each embedding, and of hand-made features of the same epochs.

The encoders learned the classes from other stars; plain distance between features has learned nothing. So the
features also get a supervised chance: linear discriminants, fitted on the labels of the other folds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import QuantileTransformer

from broker_plugin.engine.encoders import FUSED
from trainer.downstream.neighbours import chance_precision, nearest, precision
from trainer.downstream.table import Embeddings

__all__ = [
    "FEATURES",
    "LEARNED_FEATURES",
    "MEMBERS_MIN",
    "K",
    "measure_similarity",
    "similarity_lines",
    "spread_evenly",
]

K = 10
"""Neighbours that are counted, as the paper's notebooks look at a handful."""

MEMBERS_MIN = K + 1
"""A class with fewer members cannot fill the neighbours of one of them."""

FEATURES, LEARNED_FEATURES = "features", "features, linear discriminants"

FOLDS = 5

DRAWS = 1000
"""Draws of the bootstrap over objects: its 95 % limits are then known to a tenth of their distance."""


def measure_similarity(
    embeddings: Embeddings,
    features: NDArray[np.float32] | None,
    *,
    seed: int = 1,
    advance: Callable[[int], None] = lambda n: None,
) -> dict[str, Any]:
    """Return class precision@10 by what distances are measured on.

    Parameters
    ----------
    embeddings
        Labelled objects, each of a class with `MEMBERS_MIN` or more; all have the same modalities.
    features
        Hand-made features (N, F) of the same objects, None to leave them out.
    advance
        Told of each finished space.
    """
    label, group = embeddings.label, embeddings.group
    found: dict[str, NDArray[np.float64]] = {}
    for source in embeddings.about.sources:
        rows, _ = nearest(embeddings.vectors[source], group, K)
        found[source] = precision(rows, label)
        advance(1)
    if features is not None:
        spread = spread_evenly(features, seed=seed)
        found[FEATURES] = precision(nearest(spread, group, K, metric="euclidean")[0], label)
        advance(1)
        found[LEARNED_FEATURES] = _of_discriminants(spread, label, group, seed=seed)
        advance(1)
    rng = np.random.default_rng((seed, 31))
    draws = _draws(label, group, rng)
    chance = chance_precision(label)
    return {
        "k": K,
        "objects": len(label),
        "by_space": {name: _summary(values, label, draws) for name, values in found.items()},
        "chance": _summary(chance, label, draws),
        "fused_less_others": {
            name: _interval(found[FUSED] - values, label, draws)
            for name, values in found.items()
            if name != FUSED
        },
    }


def similarity_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield a measurement as lines to print."""
    spaces = {**result["by_space"], "chance": result["chance"]}
    classes = list(result["chance"]["by_class"])
    yield f"{'precision@' + str(result['k']):<32}{'macro':>8}{'95 %':>16}{'all':>8}" + "".join(
        f"{name:>7}" for name in classes
    )
    for name, each in spaces.items():
        low, high = each["macro_95"]
        yield (
            f"{name:<32}{each['macro']:>8.3f}{f'{low:.3f}-{high:.3f}':>16}{each['mean']:>8.3f}"
            + "".join(f"{each['by_class'][one]:>7.2f}" for one in classes)
        )


def spread_evenly(features: NDArray[np.float32], *, seed: int) -> NDArray[np.float64]:
    """Return features as normal scores of their ranks: their tails would rule any distance."""
    varying = features[:, np.ptp(features, axis=0) > 0]
    transform = QuantileTransformer(
        n_quantiles=min(1000, len(features)), output_distribution="normal", random_state=seed
    )
    return np.asarray(transform.fit_transform(varying), np.float64)


def _of_discriminants(
    features: NDArray[np.float64], label: NDArray[np.str_], group: NDArray[np.int64], *, seed: int
) -> NDArray[np.float64]:
    """Return the precision of each object among all, by discriminants that never saw its own label."""
    result = np.zeros(len(label))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(features, label, group):
        # Shrunk, since there are hundreds of features that repeat one another.
        learned = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(
            features[train], label[train]
        )
        rows, _ = nearest(learned.transform(features), group, K, queries=test, metric="euclidean")
        result[test] = (label[rows] == label[test][:, None]).mean(axis=1)
    return result


def _draws(
    label: NDArray[np.str_], group: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return how often each object is in each bootstrap draw of objects, (DRAWS, N)."""
    _, code = np.unique(group, return_inverse=True)
    n = int(code.max()) + 1
    return np.stack([np.bincount(rng.integers(0, n, n), minlength=n)[code] for _ in range(DRAWS)]).astype(
        np.float64
    )


def _summary(
    values: NDArray[np.float64], label: NDArray[np.str_], draws: NDArray[np.float64]
) -> dict[str, Any]:
    interval = _interval(values, label, draws)
    return {
        "macro": interval["macro"],
        "macro_95": interval["macro_95"],
        "mean": float(values.mean()),
        "by_class": {name: float(values[label == name].mean()) for name in np.unique(label).tolist()},
    }


def _interval(
    values: NDArray[np.float64], label: NDArray[np.str_], draws: NDArray[np.float64]
) -> dict[str, Any]:
    """Return the mean over classes of the mean in a class, with its 95 % interval over draws of objects."""
    names = np.unique(label)
    means = np.stack(
        [
            np.divide(
                draws[:, label == name] @ values[label == name],
                total := draws[:, label == name].sum(axis=1),
                out=np.full(len(draws), np.nan),
                where=total > 0,
            )
            for name in names
        ]
    )
    low, high = np.quantile(np.nanmean(means, axis=0), (0.025, 0.975))
    return {
        "macro": float(np.mean([values[label == name].mean() for name in names])),
        "macro_95": [float(low), float(high)],
    }
