# SPDX-License-Identifier: BSD-3-Clause
"""What the top of a night's ranking would hold, if one alert in a hundred thousand were such an event.

Among the strangest ten of a night the ordinary alerts come from a tail that a few thousand stars do not
reach. Two answers are given. *Measured* takes no alert to be rarer than the sample can tell: it is a lower
bound. *Extrapolated* continues the tail by a generalised Pareto distribution (Pickands 1975, Ann. Stat. 3,
119), with the spread over bootstrap samples; that the tail goes on like this no test here can check.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import genpareto  # type: ignore[import-untyped]

__all__ = ["NIGHT_ALERTS", "PREVALENCE", "TOPS", "precision_at_top"]

FloatArray = NDArray[np.float64]

Tail = Callable[[FloatArray], FloatArray]
"""Share of the ordinary scores at or above thresholds."""

PREVALENCE = 1e-5
"""Share of the alerts that are such events."""

NIGHT_ALERTS = 10_000_000
"""Alerts that are ranked: a night of Rubin, so that there are a hundred events in it."""

TOPS = (10, 100)

TAIL_SHARE = 0.1
"""Share of the ordinary scores that the tail is fitted to; fewer leave its exponent undetermined."""

TAIL_MIN = 30
"""Fewest scores of a tail."""

BOOTSTRAPS = 50


def precision_at_top(ordinary: FloatArray, odd: FloatArray, *, ranks: bool = False) -> dict[str, Any]:
    """Return the expected share of events among the strangest of `NIGHT_ALERTS`, for each of `TOPS`.

    Parameters
    ----------
    ranks
        The scores are ranks within a finite sample, so their tail cannot be continued.

    Examples
    --------
    >>> found = precision_at_top(np.arange(99.0), np.array([1e3, 1e3]))
    >>> round(found["top_10"]["measured"], 3)
    0.001
    """
    found = {f"top_{top}": {"measured": _at_top(_sample_tail(ordinary), ordinary, odd, top)} for top in TOPS}
    if ranks or len(ordinary) * TAIL_SHARE < TAIL_MIN:
        return found
    rng = np.random.default_rng(len(ordinary))
    tail = _pareto_tail(ordinary)
    tails = [_pareto_tail(rng.choice(ordinary, len(ordinary))) for _ in range(BOOTSTRAPS)]
    for top in TOPS:
        spread = np.quantile([_at_top(each, ordinary, odd, top) for each in tails], [0.05, 0.95])
        found[f"top_{top}"] |= {
            "extrapolated": _at_top(tail, ordinary, odd, top),
            "extrapolated_interval": spread.tolist(),
        }
    return found


def _sample_tail(ordinary: FloatArray) -> Tail:
    """Return the share of ordinary scores at or above a threshold, never less than the sample resolves."""
    rising = np.sort(ordinary)
    n = len(rising)

    def tail(threshold: FloatArray) -> FloatArray:
        at_least = n - np.searchsorted(rising, threshold, side="left")
        return np.asarray((1.0 + at_least) / (n + 1.0), np.float64)

    return tail


def _pareto_tail(ordinary: FloatArray) -> Tail:
    """Return the same share beyond the sample too, by a distribution fitted to the top of it."""
    start = float(np.quantile(ordinary, 1.0 - TAIL_SHARE))
    exponent, _, scale = genpareto.fit(ordinary[ordinary > start] - start, floc=0.0)
    return lambda threshold: np.asarray(TAIL_SHARE * genpareto.sf(threshold - start, exponent, scale=scale))


def _at_top(tail: Tail, ordinary: FloatArray, odd: FloatArray, top: int) -> float:
    """Return the share of events among the `top` strangest.

    The threshold is where as many alerts are expected above it. Where even the strangest events share theirs
    with more alerts than that, those are in random order.
    """
    rising = np.sort(odd)
    thresholds = np.unique(rising[rising > np.quantile(ordinary, 1.0 - TAIL_SHARE)])[::-1]
    if not len(thresholds):
        return 0.0
    of_odd = 1.0 - np.searchsorted(rising, thresholds, side="left") / len(rising)
    events = NIGHT_ALERTS * PREVALENCE * of_odd
    alerts = events + NIGHT_ALERTS * (1.0 - PREVALENCE) * tail(thresholds)
    if alerts[0] >= top:
        return float(events[0] / alerts[0])
    return float(np.interp(top, alerts, events) / min(top, alerts[-1]))
