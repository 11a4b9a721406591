# SPDX-License-Identifier: BSD-3-Clause
"""Whether the same alert gets the same numbers: in another order, batch, session, with other threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.codec.verdict import Verdict
from broker_plugin.engine.scorer import Scorer
from broker_plugin.records import Alert

__all__ = ["SCORINGS", "measure_determinism"]

BATCHES = (1, 7, 64)
"""Batch sizes that are tried: one, one that divides nothing, and a usual one."""

THREADS = 2

SCORINGS = 5 + len(BATCHES)
"""How often the alerts are scored in all."""


def measure_determinism(
    bundle: str,
    alerts: Sequence[Alert],
    *,
    seed: int,
    advance: Callable[[int], None] = lambda n: None,
) -> dict[str, Any]:
    """Return the largest absolute difference of probabilities, scores and p-values from one plain scoring."""
    scorer = Scorer.open(bundle, device="cpu")
    order = np.random.default_rng((seed, 40)).permutation(len(alerts))
    shuffled = [alerts[row] for row in order]
    back = np.argsort(order)
    ways: dict[str, Callable[[], list[Verdict]]] = {
        "again": lambda: scorer.score(alerts),
        "in another order": lambda: _at(scorer.score(shuffled), back),
        **{f"in batches of {size}": partial(_in_batches, scorer, alerts, size) for size in BATCHES},
        "in another session": lambda: Scorer.open(bundle, device="cpu").score(alerts),
        f"in a session of {THREADS} threads": lambda: Scorer.open(
            bundle, device="cpu", threads=THREADS
        ).score(alerts),
    }
    first = _numbers(scorer.score(alerts))
    advance(1)
    found = {}
    for name, way in ways.items():
        numbers = _numbers(way())
        found[name] = {
            what: float(np.abs(values - first[what]).max(initial=0.0)) for what, values in numbers.items()
        }
        advance(1)
    return {
        "alerts": len(alerts),
        "provider": scorer.provider.provider,
        "precision": scorer.precision,
        "largest_difference": found,
    }


def _at(verdicts: Sequence[Verdict], rows: NDArray[np.intp]) -> list[Verdict]:
    return [verdicts[row] for row in rows]


def _in_batches(scorer: Scorer, alerts: Sequence[Alert], size: int) -> list[Verdict]:
    starts = range(0, len(alerts), size)
    return [verdict for start in starts for verdict in scorer.score(alerts[start : start + size])]


def _numbers(verdicts: Sequence[Verdict]) -> dict[str, NDArray[np.float64]]:
    return {
        "probability": np.array([list(verdict.class_probabilities.values()) for verdict in verdicts]),
        "anomaly_score": np.array([verdict.anomaly_score for verdict in verdicts]),
        "anomaly_p_value": np.array([verdict.anomaly_p_value for verdict in verdicts]),
    }
