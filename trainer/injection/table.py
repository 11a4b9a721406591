# SPDX-License-Identifier: BSD-3-Clause
"""The measures in a table for the terminal, and the efficiency curves in a figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table

from trainer.injection.measures import EFFICIENCY_LEVEL, SCORES
from trainer.injection.priors import ARTEFACTS, DISCOVERIES

__all__ = ["draw_efficiencies", "rich_tables"]

AXES: Mapping[str, str] = {
    "amplitude_mag": "largest change (mag)",
    "signal_to_noise": "signal-to-noise ratio of the event",
    "epochs_seen": "epochs in the event",
}

COLOURS: Mapping[str, str] = dict(zip(DISCOVERIES, ("#0072b2", "#d55e00", "#009e73", "#cc79a7"), strict=True))
"""Okabe and Ito's, which colour-blind readers can tell apart."""


def rich_tables(results: Mapping[str, Any]) -> list[Table]:
    """Return recall and ranking by setting and score, and how instrumental jumps rank."""
    level = f"{EFFICIENCY_LEVEL:g}"
    events = Table(
        "setting",
        "score",
        *DISCOVERIES,
        "all",
        "AUROC",
        "at 0.001",
        "top 10 of a night",
        title=f"Recall of injected events at a rate {level} of false alarms",
    )
    jumps = Table("setting", "score", *ARTEFACTS, title="Share of instrumental jumps above that threshold")
    for setting, found in results["settings"].items():
        for score in SCORES:
            recall = found[score]["recall"]
            if "too_few" in recall[level]:
                events.add_row(setting, score, recall[level]["too_few"])
                continue
            by_kind = recall[level]["by_kind"]
            areas = [found[score]["auroc"][kind] for kind in by_kind]
            events.add_row(
                setting,
                score,
                *(_recall(by_kind.get(kind)) for kind in DISCOVERIES),
                f"{_recall(recall[level])} ({_range(recall[level]['interval'])})",
                f"{np.mean(areas):.3f}",
                _recall(recall["0.001"]),
                _precision(found[score]["precision"]["top_10"]),
            )
            passed = recall[level]["artefacts"]
            jumps.add_row(setting, score, *(_recall(passed.get(kind)) for kind in ARTEFACTS))
    return [events, jumps]


def draw_efficiencies(results: Mapping[str, Any], path: Path, *, score: str = "anomaly_score") -> None:
    """Draw the share of events found against what was injected, a row of panels a setting."""
    settings = results["settings"]
    figure = Figure(figsize=(12, 2.6 * len(settings) + 0.6), dpi=110, layout="constrained")
    panels = figure.subplots(len(settings), len(AXES), squeeze=False, sharey=True, sharex="col")
    for row, (setting, found) in zip(panels, settings.items(), strict=True):
        for axes, (name, label) in zip(row, AXES.items(), strict=True):
            for kind, curves in found[score]["efficiency"].items():
                _draw_curve(axes, curves[name], kind)
            axes.set_xscale("log")
            axes.set_ylim(-0.03, 1.03)
            axes.axhline(EFFICIENCY_LEVEL, color="0.6", linewidth=0.8, linestyle=":")
            axes.grid(color="0.92", linewidth=0.5)
            if row is panels[-1]:
                axes.set_xlabel(label)
        row[0].set_ylabel(f"{setting}: share found")
    panels[0][0].legend(fontsize=8, loc="upper left")
    figure.suptitle(
        f"{results['bundle']}: events found by {score} at {EFFICIENCY_LEVEL:g} false alarms, 90 % intervals"
    )
    FigureCanvasAgg(figure).print_figure(path, format="png", metadata={"Software": None})


def _draw_curve(axes: Axes, curve: Mapping[str, Any], kind: str) -> None:
    x, y = np.array(curve["median"]), np.array(curve["efficiency"])
    low, high = np.array(curve["interval"]).T
    axes.errorbar(
        np.maximum(x, 1e-2),
        y,
        yerr=np.clip([y - low, high - y], 0.0, None),
        color=COLOURS[kind],
        marker="o",
        markersize=3,
        linewidth=1.2,
        elinewidth=0.7,
        label=kind,
    )


def _recall(found: Mapping[str, Any] | None) -> str:
    return "-" if found is None or "too_few" in found else f"{found['recall']:.3f}"


def _range(interval: list[float]) -> str:
    return f"{interval[0]:.2f}-{interval[1]:.2f}"


def _precision(found: Mapping[str, Any]) -> str:
    if "extrapolated" not in found:
        return f">= {found['measured']:.1e}"
    return f"{found['extrapolated']:.2f} ({_range(found['extrapolated_interval'])})"
