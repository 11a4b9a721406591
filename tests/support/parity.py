# SPDX-License-Identifier: BSD-3-Clause
"""What a device makes of real alerts beside what the CPU makes of them.

As a program it prints the comparison, for environments with another wheel:

    python -m tests.support.parity FOLDER_OF_DATA DEVICE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.engine.scorer import Scorer
from broker_plugin.records import AlertBatch
from tests.support.alerts import real_alerts

__all__ = [
    "PARITY_ALERTS",
    "P_VALUE_MAX",
    "Compared",
    "compare",
    "farthest_p_value",
    "require_p_values",
    "require_verdicts",
    "summary",
]

PARITY_ALERTS = 1000
"""Real alerts on which a decision in a thousand would show."""

DECISIONS_EQUAL_MIN = 0.999
P_VALUE_MAX = 0.01
"""What a device must agree on with the CPU: decisions, and how far a p-value may be from the CPU's."""

SMALL = 0.1
"""A p-value up to here is one that somebody looks at: all of these must agree."""

P_VALUES_EQUAL_MIN, P_VALUE_FARTHEST = 0.99, 0.05
"""The same for all p-values. The last bit of an embedding can send it the other way in one of 200 trees, and
among the ordinary alerts of a stratum, whose scores lie close together, that passes several of them at once:
one alert in a thousand was moved by 0.02."""

Compared = dict[str, Any]
"""A comparison, as JSON has it."""


def compare(data_dir: Path, device: str, *, n: int | None = PARITY_ALERTS) -> Compared:
    """Return how far the verdicts of a device are from those of the CPU, on real alerts of both surveys.

    With `n` None on all there are.
    """
    every = real_alerts(data_dir)
    picks = np.random.default_rng(3).permutation(len(every))[:n]
    batch = AlertBatch.from_alerts([every[pick] for pick in picks])
    cpu, other = Scorer.open(device="cpu"), Scorer.open(device=device)
    pairs = list(zip(cpu.score(batch), other.score(batch), strict=True))
    small = batch.take(np.arange(5))
    return {
        "alerts": len(pairs),
        "providers": [cpu.provider.provider, other.provider.provider],
        "top_equal": np.mean([a.top_class == b.top_class for a, b in pairs]).item(),
        "set_equal": np.mean([a.class_set == b.class_set for a, b in pairs]).item(),
        "p_values": [
            (a.anomaly_p_values[source], b.anomaly_p_values[source])
            for a, b in pairs
            for source in a.anomaly_p_values
        ],
        "alone_as_in_the_batch": [verdict.class_probabilities for verdict in other.score(small)]
        == [b.class_probabilities for _, b in pairs[:5]],
    }


def require_verdicts(compared: Compared) -> None:
    """Fail unless decisions are the CPU's, and an alert's do not depend on its batch."""
    assert compared["top_equal"] >= DECISIONS_EQUAL_MIN
    assert compared["set_equal"] >= DECISIONS_EQUAL_MIN
    assert compared["alone_as_in_the_batch"]


def require_p_values(compared: Compared) -> None:
    """Fail unless small p-values are the CPU's, and the others nearly."""
    p_value, difference = _differences(compared)
    assert difference[p_value <= SMALL].max() <= P_VALUE_MAX
    assert (difference <= P_VALUE_MAX).mean() >= P_VALUES_EQUAL_MIN
    assert difference.max() <= P_VALUE_FARTHEST


def farthest_p_value(compared: Compared) -> float:
    """Return how far the p-value that is farthest from the CPU's is from it."""
    return float(_differences(compared)[1].max())


def summary(compared: Compared) -> dict[str, Any]:
    """Return the comparison in a few numbers."""
    _, difference = _differences(compared)
    return {name: value for name, value in compared.items() if name != "p_values"} | {
        "p_values_within": P_VALUE_MAX,
        "p_values_within_share": float((difference <= P_VALUE_MAX).mean()),
        "p_value_farthest": float(difference.max()),
    }


def _differences(compared: Compared) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the CPU's p-values of all sources and alerts, and how far from them the others are."""
    p_value, other = np.array(compared["p_values"]).T
    return p_value, np.abs(p_value - other)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(compare(Path(sys.argv[1]), sys.argv[2])) + "\n")
