# SPDX-License-Identifier: BSD-3-Clause
"""What the plain pipeline is made of, said without importing it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

__all__ = ["BATCH", "CLASSES", "DIMENSIONS", "LENGTH", "TREES", "described"]

BATCH = 64
"""Alerts at a time: eager torch on a CPU gains nothing from more."""

LENGTH, DIMENSIONS, CLASSES = 200, 512, 10
"""Rows of a light curve, the embedding and the classifier in the paper."""

TREES = 300
"""Of the isolation forest."""


def described() -> dict[str, Any]:
    """Return what the pipeline is made of, for a reader of the results.

    Examples
    --------
    >>> described()["padded_to"]
    200
    """
    return {
        "decode": "fastavro, whole packets, one by one",
        "features": "the paper's preprocessing, object by object, in Python and numpy",
        "model": "AstroM3 light-curve encoder (Informer, 8 layers of width 128), torch eager, float32",
        "weights": "random: a rate does not depend on them",
        "batch": BATCH,
        "padded_to": LENGTH,
        "forest": f"scikit-learn IsolationForest on {DIMENSIONS} dimensions",
        "trees": TREES,
        "output": "JSON: identity, class probabilities, anomaly score",
        "periods": "not searched: the paper's model is given them by a catalogue",
        "threads_per_process": 1,
        "torch": version("torch"),
        "scikit_learn": version("scikit-learn"),
    }
