# SPDX-License-Identifier: BSD-3-Clause
"""Names of settings, measures and contenders as people read them, and numbers as they stand in cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

__all__ = [
    "MEASURE_NAMES",
    "SETTING_NAMES",
    "contender_name",
    "interval_cell",
    "lead_cell",
    "missing_note",
    "number_cell",
    "spread_cell",
]

SETTING_NAMES: Mapping[str, str] = {
    "period": "all epochs and the catalogue's period",
    "all": "all epochs",
    "100": "first 100 epochs",
    "30": "first 30",
    "10": "first 10",
    "3": "first 3",
    "1": "the first",
    "packet": "cut to an alert",
}

MEASURE_NAMES: Mapping[str, str] = {
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "ece": "expected calibration error",
    "near_ood_auroc": "near anomalies, AUROC",
}

SMALLER_IS_BETTER = frozenset({"ece"})

_CONTENDERS: Mapping[str, str] = {
    "bundle": "this bundle",
    "random_forest": "random forest",
    "random_forest_uncapped": "random forest, all stars",
    "isolation_forest": "isolation forest",
    "astrom3": "AstroM3's Informer",
}

NONE = "-"


def contender_name(name: str) -> str:
    """Return what a contender is called.

    Examples
    --------
    >>> contender_name("random_forest"), contender_name("my_rival")
    ('random forest', 'my rival')
    """
    return _CONTENDERS.get(name, name.replace("_", " "))


def number_cell(value: float | None, digits: int = 3) -> str:
    """Return a number, or a dash where there is none."""
    return NONE if value is None else f"{value:.{digits}f}"


def interval_cell(interval: Sequence[float] | None) -> str:
    """Return a value with its interval.

    Examples
    --------
    >>> interval_cell([0.5, 0.45, 0.55])
    '0.500 <small>0.450 to 0.550</small>'
    """
    if interval is None:
        return NONE
    value, low, high = interval
    return f"{value:.3f} <small>{low:.3f} to {high:.3f}</small>"


def lead_cell(interval: Sequence[float] | None, measure: str) -> str:
    """Return a difference with its interval; a mark tells where it is surely better or worse.

    Examples
    --------
    >>> lead_cell([0.02, 0.01, 0.03], "accuracy")
    '<span class="mark found" title="better">▲</span> +0.020 <small>+0.010 to +0.030</small>'
    """
    if interval is None:
        return NONE
    value, low, high = interval
    sign = -1.0 if measure in SMALLER_IS_BETTER else 1.0
    surely = (low > 0) - (high < 0)
    css, what, arrow = {1.0: ("found", "better", "▲"), -1.0: ("missed", "worse", "▼")}.get(
        sign * surely, ("", "", "")
    )
    mark = f'<span class="mark {css}" title="{what}">{arrow}</span> ' if arrow else ""
    return f"{mark}{value:+.3f} <small>{low:+.3f} to {high:+.3f}</small>"


def spread_cell(spread: Mapping[str, float] | None) -> str:
    """Return a mean and its standard deviation, `std` or `spread` by who wrote it.

    Examples
    --------
    >>> spread_cell({"mean": 0.5, "std": 0.01}), spread_cell(None)
    ('0.500 <small>± 0.010</small>', '-')
    """
    if spread is None:
        return NONE
    about = spread.get("std", spread.get("spread", 0.0))
    return f"{spread['mean']:.3f} <small>± {about:.3f}</small>"


def missing_note(record: Mapping[str, Any], section: str, what: str) -> str:
    """Return the line that names the command which would make what is missing, empty where nothing is."""
    command = record["missing"].get(section)
    if command is None:
        return ""
    return f'<p class="missing">{escape(what)}: <code>{escape(command)}</code></p>'
