# SPDX-License-Identifier: BSD-3-Clause
"""The baseline of `trainer evaluate`: a random forest on hand-made features of the same windows.

It is grown on the training stars and measured on the test stars of a run, setting by setting, with the very
tokens that the encoder reads: statistics, periodogram and the folds at the three strongest periods.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score, recall_score

from trainer.baseline import summary
from trainer.data.splits import Split
from trainer.preparation import Prepared, first_set

__all__ = ["BASELINES", "TREES", "forest_baselines"]

BASELINES = "baselines.json"

SETTINGS: dict[str, int | None] = {"all": None, "100": 100, "30": 30, "10": 10}
"""First epochs of each star, as in `bundle_evaluation.SETTINGS`; the catalogue's period is not given."""

TREES, LEAF_MIN, FEATURE_SHARE = 300, 2, 0.05
"""A forest of usual size, not tuned. A twentieth of the 730 features at each split is somewhat more than the
customary root, since many of them say little."""


def forest_baselines(
    prepared: Prepared, out: Path, *, advance: Callable[[int], None] = lambda n: None
) -> dict[str, dict[str, Any]]:
    """Grow and measure a forest for each setting, write the results to `baselines.json` and return them."""
    results: dict[str, dict[str, Any]] = {}
    names = prepared.run.classes
    for setting, n_epochs in SETTINGS.items():
        train, test = (first_set(prepared, split, n_epochs) for split in (Split.TRAIN, Split.TEST))
        forest = RandomForestClassifier(
            TREES,
            min_samples_leaf=LEAF_MIN,
            max_features=FEATURE_SHARE,
            class_weight="balanced_subsample",
            random_state=prepared.run.settings.seed,
            n_jobs=prepared.run.settings.data.workers,
        )
        forest.fit(summary(train.tokens), train.label)
        predicted = forest.predict(summary(test.tokens))
        present = np.unique(test.label)
        by_class = f1_score(test.label, predicted, labels=present, average=None, zero_division=0)
        results[setting] = {
            "n": len(test),
            "macro_f1": float(by_class.mean()),
            "balanced_accuracy": float(recall_score(test.label, predicted, labels=present, average="macro")),
            "f1_by_class": {names[k]: float(f1) for k, f1 in zip(present, by_class, strict=True)},
        }
        advance(1)
    (out / BASELINES).write_text(json.dumps(results, indent=1) + "\n")
    return results
