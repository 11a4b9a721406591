# SPDX-License-Identifier: BSD-3-Clause
"""Decision rules that a bundle is measured by beside naming the most probable class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from broker_plugin.bundle import Manifest
from broker_plugin.decision import ARGMAX, TEMPERED, decided, tempered_weights
from trainer.predictions import MERGED, Predictions

__all__ = ["RULE_MEASURES", "Rule", "decision_rules"]

RULE_MEASURES = ("macro_f1", "balanced_accuracy", "accuracy")
"""What is measured of a rule; it leaves the probabilities alone, and all that is measured of them."""

Rule = Callable[[Predictions], NDArray[np.int64] | None]
"""Predictions to the class named for each star, a position in `MERGED`; None where that is not known."""


def decision_rules(manifest: Manifest) -> Mapping[str, Rule]:
    """Return the rules by name: `tempered`, and the bundle's own where it has one.

    Classes are weighted as they are measured, merged.
    """
    frequency = dict(zip(manifest.classes, manifest.class_frequencies, strict=True))
    merged = [sum(frequency.get(name, 0.0) for name in spellings) for spellings in MERGED.values()]
    rules: dict[str, Rule] = {TEMPERED: partial(_by_weights, weights=tempered_weights(merged))}
    if manifest.decision_rule not in (ARGMAX, TEMPERED):
        rules[manifest.decision_rule] = attrgetter("decided")
    return rules


def _by_weights(found: Predictions, weights: NDArray[np.float64]) -> NDArray[np.int64] | None:
    return decided(found.probability, weights).astype(np.int64) if found.classifies else None
