# SPDX-License-Identifier: BSD-3-Clause
"""The measures in a table for the terminal, and the efficiency curves in a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter
from rich.table import Table

from trainer.injection.measures import EFFICIENCY_LEVEL
from trainer.injection.priors import ARTEFACTS, DISCOVERIES
from trainer.injection.ranking import NIGHT_ALERTS, PREVALENCE

__all__ = ["draw_efficiencies", "rich_tables"]

AXES: Mapping[str, str] = {
    "amplitude_mag": "largest change (mag)",
    "signal_to_noise": "signal-to-noise ratio of the event",
    "epochs_seen": "epochs in the event",
}

SHORT: Mapping[str, str] = {"microlensing": "lens", "outburst": "burst"}

SCORE_NAMES: Mapping[str, str] = {
    "anomaly_score": "score",
    "anomaly_p_value": "p",
    "isolation_forest": "forest",
}
"""Short enough for a terminal of 80 columns."""

SHOWN_MIN = 10
"""Fewest events of a bin that is drawn: the interval of fewer spans half of the panel."""

COLOURS: Mapping[str, str] = dict(zip(DISCOVERIES, ("#0072b2", "#d55e00", "#009e73", "#cc79a7"), strict=True))
"""Okabe and Ito's, which colour-blind readers can tell apart."""


def rich_tables(results: Mapping[str, Any]) -> list[Table]:
    """Return recall and ranking by setting and score, and how instrumental jumps rank and are flagged."""
    level = f"{EFFICIENCY_LEVEL:g}"
    events = Table(
        "first",
        "score",
        *(SHORT.get(kind, kind) for kind in DISCOVERIES),
        "all",
        "AUROC",
        "1e-3",
        title=f"Injected events: recall at {level} false alarms, all together also at 1e-3",
    )
    ranking = Table(
        "first",
        "score",
        "top 10",
        "(90 %)",
        "top 100",
        "p <= 0.01",
        title=f"Share of events at the top of {NIGHT_ALERTS:,} alerts, one in {1 / PREVALENCE:,.0f} an event",
        caption="Tails extrapolated; > is a bound from the sample alone.",
    )
    jumps = Table("first", "score", *ARTEFACTS, title=f"Instrumental jumps above the threshold of {level}")
    flags = Table(
        "first",
        "share",
        *ARTEFACTS,
        "events",
        "ordinary",
        title="Flagged as a fault of the instrument, or strange and not flagged",
    )
    for setting, found in results["settings"].items():
        for row in _flag_rows(found["flags"]):
            flags.add_row(setting, *row)
        for score, name in SCORE_NAMES.items():
            recall = found[score]["recall"]
            if "too_few" in recall[level]:
                events.add_row(setting, name, recall[level]["too_few"])
                continue
            by_kind = recall[level]["by_kind"]
            areas = [found[score]["auroc"][kind] for kind in by_kind]
            events.add_row(
                setting,
                name,
                *(_recall(by_kind.get(kind)) for kind in DISCOVERIES),
                _recall(recall[level]),
                f"{np.mean(areas):.3f}",
                _recall(recall["0.001"]),
            )
            top = found[score]["precision"]
            ranking.add_row(
                setting,
                name,
                _precision(top["top_10"]),
                _spread(top["top_10"]),
                _precision(top["top_100"]),
                _p_share(found) if score == "anomaly_p_value" else "",
            )
            passed = recall[level]["artefacts"]
            jumps.add_row(setting, name, *(_recall(passed.get(kind)) for kind in ARTEFACTS))
    return [events, ranking, jumps, flags]


def draw_efficiencies(results: Mapping[str, Any], file: BinaryIO) -> None:
    """Draw the share of events found against what was injected, a row of panels a setting, as PNG.

    Drawn through is the bundle's anomaly score, dashed the isolation forest on hand-made features.
    """
    settings = results["settings"]
    figure = Figure(figsize=(12, 2.6 * len(settings) + 0.6), dpi=110, layout="constrained")
    panels = figure.subplots(len(settings), len(AXES), squeeze=False, sharey=True, sharex="col")
    for row, (setting, found) in zip(panels, settings.items(), strict=True):
        for axes, name in zip(row, AXES, strict=True):
            for kind in DISCOVERIES:
                for score, style in (("isolation_forest", "--"), ("anomaly_score", "-")):
                    if kind in found[score]["efficiency"]:
                        _draw_curve(axes, found[score]["efficiency"][kind][name], kind, style)
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_ylim(-0.03, 1.03)
            axes.axhline(EFFICIENCY_LEVEL, color="0.6", linewidth=0.8, linestyle=":")
            axes.grid(color="0.92", linewidth=0.5)
        row[0].set_ylabel(f"{setting} epochs: share found")
    for axes, label in zip(panels[-1], AXES.values(), strict=True):
        axes.set_xlabel(label)
    panels[0][0].legend(fontsize=8, loc="upper left")
    figure.suptitle(
        f"{results['bundle']}: events found at {EFFICIENCY_LEVEL:g} false alarms by the anomaly score, "
        "with 90 % intervals; dashed: isolation forest on hand-made features"
    )
    FigureCanvasAgg(figure).print_figure(file, format="png", metadata={"Software": None})


def _draw_curve(axes: Axes, curve: Mapping[str, Any], kind: str, style: str) -> None:
    shown = np.array(curve["n"]) >= SHOWN_MIN
    x, y = np.array(curve["median"])[shown], np.array(curve["efficiency"])[shown]
    if style != "-":
        axes.plot(x, y, style, color=COLOURS[kind], linewidth=0.8)
        return
    low, high = np.array(curve["interval"]).reshape(-1, 2)[shown].T
    axes.errorbar(
        x,
        y,
        # Rounding can put the end of an interval a hair inside of a share of 0 or 1.
        yerr=np.clip([y - low, high - y], 0.0, None),
        color=COLOURS[kind],
        marker="o",
        markersize=3,
        linewidth=1.2,
        elinewidth=0.7,
        label=kind,
    )


def _flag_rows(flags: Mapping[str, Any] | None) -> list[list[str]]:
    """Return the rows of one setting; none for a bundle that knows no oddities."""
    rows = []
    for share, by_kind in (flags or {}).items():
        events = [by_kind[kind]["share"] for kind in DISCOVERIES if by_kind[kind] is not None]
        jumps = [by_kind[kind] for kind in ARTEFACTS]
        cells = [
            "-" if each is None else f"{each['share']:.3f}" for each in (*jumps, {"share": np.mean(events)})
        ]
        rows.append([share.replace("_", " "), *cells, f"{by_kind['ordinary']['share']:.3f}"])
    return rows


def _recall(found: Mapping[str, Any] | None) -> str:
    return "-" if found is None or "too_few" in found else f"{found['recall']:.3f}"


def _precision(found: Mapping[str, Any]) -> str:
    """Return the extrapolated share, or the measured one where there is none, which is a lower bound."""
    return f"{found['extrapolated']:.2g}" if "extrapolated" in found else f"> {found['measured']:.1g}"


def _spread(found: Mapping[str, Any]) -> str:
    interval = found.get("extrapolated_interval")
    return "" if interval is None else f"{interval[0]:.1g} to {interval[1]:.1g}"


def _p_share(found: Mapping[str, Any]) -> str:
    """Return the share of events, all kinds alike, that get so small a p-value."""
    shares = [found["p_at_most_0.01"][kind] for kind in DISCOVERIES]
    return f"{np.mean([each['share'] for each in shares if each is not None]):.3f}"
