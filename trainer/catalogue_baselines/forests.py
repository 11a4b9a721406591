# SPDX-License-Identifier: BSD-3-Clause
"""Two forests on hand-made features: a random forest that classifies, an isolation forest that ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest, RandomForestClassifier

from trainer.predictions import MERGED, Predictions

__all__ = ["CAP", "FOREST_TREES", "ISOLATION_TREES", "capped", "grow_isolation_forest", "grow_random_forest"]

Float32Array = NDArray[np.float32]

FOREST_TREES, LEAF_MIN, FEATURE_SHARE = 500, 2, 0.05
"""A forest of usual size, not tuned. A twentieth of the 730 features at each split is somewhat more than the
customary root, since many of them say little."""

CAP = 4000
"""Most training stars of a class. Without it the commonest class is named for whatever is in doubt, which
costs macro-F1; with it confidence tells near anomalies less well, so both forests are grown."""

ISOLATION_TREES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Features (S, F) and classes (S,), the latter as positions in `MERGED`."""

    features: Float32Array
    label: NDArray[np.int64]


def capped(sample: Sample, *, seed: int, cap: int = CAP) -> Sample:
    """Return at most `cap` stars of each class, drawn at random."""
    rng = np.random.default_rng((seed, 30))
    kept = [rng.permutation(np.flatnonzero(sample.label == each))[:cap] for each in np.unique(sample.label)]
    rows = np.sort(np.concatenate(kept))
    return Sample(features=sample.features[rows], label=sample.label[rows])


def grow_random_forest(train: Sample, asked: Float32Array, *, seed: int, workers: int = 1) -> Predictions:
    """Return what a random forest says; strange is where its largest probability is small."""
    forest = RandomForestClassifier(
        FOREST_TREES,
        min_samples_leaf=LEAF_MIN,
        max_features=FEATURE_SHARE,
        class_weight="balanced_subsample",
        random_state=seed,
        n_jobs=workers,
    ).fit(train.features, train.label)
    probability = np.zeros((len(asked), len(MERGED)))
    probability[:, forest.classes_] = forest.predict_proba(asked)
    return Predictions(
        probability=probability,
        anomaly_score=1.0 - probability.max(axis=1),
        anomaly_p_value=np.full(len(asked), np.nan),
    )


def grow_isolation_forest(train: Sample, asked: Float32Array, *, seed: int, workers: int = 1) -> Predictions:
    """Return how strange an isolation forest finds stars; it knows no classes."""
    forest = IsolationForest(n_estimators=ISOLATION_TREES, random_state=seed, n_jobs=workers).fit(
        train.features
    )
    return Predictions(
        probability=np.full((len(asked), len(MERGED)), np.nan),
        anomaly_score=-forest.score_samples(asked),
        anomaly_p_value=np.full(len(asked), np.nan),
    )
