# SPDX-License-Identifier: BSD-3-Clause
"""How many injected events a score finds, at a stated rate of false alarms among the same survey's stars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta  # type: ignore[import-untyped]

from broker_plugin.calibration import p_value
from trainer.injection.flags import flags_of
from trainer.injection.intervals import CONFIDENCE, interval_of, share_of
from trainer.injection.priors import ARTEFACTS, DISCOVERIES
from trainer.injection.ranking import precision_at_top
from trainer.metrics import auroc
from trainer.stream.measure import uniformities

__all__ = ["EFFICIENCY_LEVEL", "LEVELS", "SCORES", "Scored", "efficiency_curve", "measures_of", "recall_at"]

FloatArray = NDArray[np.float64]

LEVELS = (1e-2, 1e-3, 1e-4)
"""Rates of false alarms that recall is measured at."""

EFFICIENCY_LEVEL = 1e-2

P_LEVEL = 0.01
"""Level at which p-values of events are counted."""

SCORES: Mapping[str, float] = MappingProxyType(
    {"anomaly_score": 1.0, "anomaly_p_value": -1.0, "isolation_forest": 1.0}
)
"""What is compared: the two of a verdict, and an isolation forest on hand-made features; -1 where less is
stranger."""

EDGES: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "amplitude_mag": (0.0, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0),
        "signal_to_noise": (0.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, np.inf),
        "epochs_seen": (1.0, 3.0, 5.0, 9.0, 17.0, 33.0, 65.0, np.inf),
    }
)
"""Bins of the efficiency curves; those of the epochs follow Catalina's four exposures a visit."""

ROUNDING = 1e-9
"""By so much a conformal p-value may be above its level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The stars of one setting (N,), ordinary ones and such with something injected.

    Parameters
    ----------
    kind
        What was injected, `ordinary` for nothing.
    scores
        By name, those of `SCORES`.
    truth
        By name, those of `EDGES`; 0 for ordinary stars.
    stratum, calibration_n
        Name and size of the stratum that the p-value rests on.
    oddity
        The likeliest oddity, empty where the bundle knows none.
    """

    kind: NDArray[np.str_]
    scores: Mapping[str, FloatArray]
    truth: Mapping[str, FloatArray]
    stratum: NDArray[np.str_]
    calibration_n: NDArray[np.int64]
    oddity: NDArray[np.str_]

    def strangeness(self, score: str) -> FloatArray:
        """Return a score so that larger is stranger."""
        return SCORES[score] * self.scores[score]

    def passes(self, score: str) -> NDArray[np.bool_]:
        """Return which stars a score finds at the rate of false alarms of the efficiencies."""
        value = self.strangeness(score)
        ordinary = np.sort(value[self.kind == "ordinary"])
        return np.asarray(p_value(value, ordinary) <= EFFICIENCY_LEVEL + ROUNDING)


def measures_of(scored: Scored) -> dict[str, Any]:
    """Return the measures of one setting."""
    ordinary = scored.kind == "ordinary"
    p = scored.scores["anomaly_p_value"]
    return {
        "n": {each: int((scored.kind == each).sum()) for each in ("ordinary", *DISCOVERIES, *ARTEFACTS)},
        "p_values_of_ordinary": uniformities(
            scored.scores["anomaly_p_value"][ordinary],
            scored.stratum[ordinary],
            scored.calibration_n[ordinary],
        ),
        "p_at_most_0.01": {
            each: share_of(p[scored.kind == each] <= P_LEVEL) for each in (*DISCOVERIES, *ARTEFACTS)
        },
        "flags": flags_of(scored.kind, scored.oddity, scored.passes("anomaly_score")),
        **{name: _of_score(scored, name) for name in SCORES},
    }


def recall_at(ordinary: FloatArray, odd: FloatArray, level: float) -> dict[str, Any] | None:
    """Return the share of odd scores that are stranger than all but a share `level` of the ordinary ones.

    The threshold is the conformal one, so the mean rate of false alarms is at most the level; `false_alarms`
    is the interval in which the threshold's true rate lies. None where there are fewer than 1 / level - 1
    ordinary scores, which define no such threshold.

    Examples
    --------
    >>> found = recall_at(np.arange(99.0), np.array([98.5, 97.5]), 0.01)
    >>> found["recall"], recall_at(np.arange(98.0), np.array([99.0]), 0.01)
    (0.5, None)
    """
    n = len(ordinary)
    above = int(np.floor(level * (n + 1) + ROUNDING)) - 1
    if above < 0:
        return None
    found = p_value(odd, np.sort(ordinary)) <= level + ROUNDING
    tails = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
    rate = [float(beta.ppf(tail, above + 1, n - above)) for tail in tails]
    return {"recall": float(found.mean()), "interval": interval_of(found), "false_alarms": rate}


def efficiency_curve(found: NDArray[np.bool_], value: FloatArray, edges: tuple[float, ...]) -> dict[str, Any]:
    """Return the share that was found in each bin that holds an event, with binomial intervals."""
    bin_ = np.digitize(value, edges) - 1
    filled = [k for k in range(len(edges) - 1) if (bin_ == k).any()]
    return {
        "low": [edges[k] for k in filled],
        "high": [edges[k + 1] if np.isfinite(edges[k + 1]) else None for k in filled],
        "n": [int((bin_ == k).sum()) for k in filled],
        "median": [float(np.median(value[bin_ == k])) for k in filled],
        "efficiency": [float(found[bin_ == k].mean()) for k in filled],
        "interval": [interval_of(found[bin_ == k]) for k in filled],
    }


def _of_score(scored: Scored, name: str) -> dict[str, Any]:
    value = scored.strangeness(name)
    by_kind = {each: value[scored.kind == each] for each in ("ordinary", *DISCOVERIES, *ARTEFACTS)}
    by_kind = {each: found for each, found in by_kind.items() if len(found)}
    ordinary = by_kind["ordinary"]
    events = np.isin(scored.kind, DISCOVERIES)
    return {
        "auroc": {
            each: auroc(ordinary, found)
            for each, found in by_kind.items()
            if each in (*DISCOVERIES, *ARTEFACTS)
        },
        "recall": {f"{level:g}": _recalls(by_kind, level) for level in LEVELS},
        "efficiency": _efficiencies(scored, scored.passes(name)),
        "precision": precision_at_top(ordinary, value[events], ranks=name == "anomaly_p_value"),
    }


def _recalls(by_kind: Mapping[str, FloatArray], level: float) -> dict[str, Any]:
    """Return recall of all events together and by kind, and how many jumps pass for one."""
    ordinary = by_kind["ordinary"]
    events = [each for each in DISCOVERIES if each in by_kind]
    together = recall_at(ordinary, np.concatenate([by_kind[each] for each in events]), level)
    if together is None:
        needed = int(np.ceil(1 / level)) - 1
        return {"too_few": f"{len(ordinary):,} ordinary stars; this level needs {needed:,}"}
    return together | {
        "by_kind": {each: recall_at(ordinary, by_kind[each], level) for each in events},
        "artefacts": {
            each: recall_at(ordinary, by_kind[each], level) for each in ARTEFACTS if each in by_kind
        },
    }


def _efficiencies(scored: Scored, found: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        kind: {
            name: efficiency_curve(found[rows], scored.truth[name][rows], edges)
            for name, edges in EDGES.items()
        }
        for kind in DISCOVERIES
        if (rows := scored.kind == kind).any()
    }
