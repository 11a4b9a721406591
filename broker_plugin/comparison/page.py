# SPDX-License-Identifier: BSD-3-Clause
"""The page of a comparison: tables and charts, without scripts, that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from broker_plugin import __version__
from broker_plugin.comparison.statistics import BINS, Comparison
from broker_plugin.demo.markup import confusion_table, html_table
from broker_plugin.demo.page import PageSection, definitions, render_page, tiles
from broker_plugin.demo.svg import Frame, figure, line, marks, text

__all__ = ["comparison_page"]

WIDTH, HEIGHT = 470.0, 226.0

LEAST_P = 1e-4
"""p-values below it are drawn at it: no calibration tells them apart."""

STYLE = (
    "svg .first { fill: none; stroke: var(--bar); stroke-width: 2; }"
    "svg .second { fill: none; stroke: var(--strange); stroke-width: 2; stroke-dasharray: 6 3; }"
    "svg .point { fill: var(--accent); opacity: .45; }"
)


def comparison_page(comparison: Comparison) -> str:
    """Return the page as HTML."""
    first, second = ("; ".join(side.bundles) for side in (comparison.first, comparison.second))
    return render_page(
        title="Two bundles on the same alerts",
        eyebrow="Comparison of verdicts",
        lede=f"{comparison.n:,} alerts have a verdict of both. First (solid): {first}. "
        f"Second (dashed): {second}.",
        head=tiles(_facts(comparison)),
        sections=[
            PageSection(name="classes", title="Classes", body=_classes(comparison)),
            PageSection(name="strangeness", title="Strangeness", body=_strangeness(comparison)),
            PageSection(name="changed", title="What changed most", body=_changed(comparison)),
            PageSection(name="stream", title="Alerts and time", body=_stream(comparison)),
        ],
        colophon=definitions([("software", f"astrom3-broker {__version__}")]),
        style=STYLE,
    )


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    overlap = next((f"{each.shared} of {each.n}" for each in comparison.overlaps if each.n == 30), "-")
    return [
        (_share(comparison.agreement), f"same class, of {comparison.n_classified:,} that have one"),
        (_number(comparison.kappa), "Cohen's kappa"),
        (f"{comparison.distance['0.5']:.3f}", "median distance of class probabilities"),
        (_number(comparison.rank_correlation), "rank correlation of anomaly scores"),
        (overlap, "of the 30 strangest are the same"),
    ]


def _classes(comparison: Comparison) -> str:
    matrix = confusion_table(
        comparison.classes,
        comparison.confusion,
        corner="first ↓ second →",
        caption="Top class where both name one",
    )
    chart = _steps(
        comparison.first.top_probabilities,
        comparison.second.top_probabilities,
        x_label="largest class probability",
        title="Histogram of the largest class probability",
    )
    spread = html_table(
        ["quantile", "#total variation distance"],
        [[escape(level), f"{value:.4f}"] for level, value in comparison.distance.items()],
    )
    return (
        f'<div class="pair"><div class="panel scroll">{matrix}</div><div class="panel">{chart}{spread}'
        "<p>The distance is the largest difference of the probability of any set of classes: 0 for the same, "
        "1 for none in common.</p></div></div>"
    )


def _strangeness(comparison: Comparison) -> str:
    chart = _steps(
        comparison.first.p_values,
        comparison.second.p_values,
        x_label="p-value",
        title="Histogram of p-values",
        uniform=comparison.n / BINS,
    )
    overlaps = html_table(
        ["#strangest", "#in both", "#by chance"],
        [[str(each.n), str(each.shared), f"{each.by_chance:.1f}"] for each in comparison.overlaps],
        caption="How many of the strangest are the same",
    )
    sides = (comparison.first, comparison.second)
    levels = html_table(
        ["p-values", "#first", "#second"],
        [
            *(
                [f"at or below {level}", *(f"{side.shares[level]:.2%}" for side in sides)]
                for level in comparison.first.shares
            ),
            ["KS distance from uniform", *(f"{side.ks_from_uniform:.3f}" for side in sides)],
            ["KS distance between them", f"{comparison.ks_between:.3f}", ""],
        ],
    )
    return (
        f'<div class="pair"><div class="panel">{chart}{levels}</div>'
        f'<div class="panel">{_scatter(comparison)}{overlaps}</div></div>'
    )


def _changed(comparison: Comparison) -> str:
    rows = [
        [
            f"<code>{escape(each.object_id)}</code>",
            f"<code>{escape(each.alert_key)}</code>",
            f"{each.distance:.3f}",
            escape(" → ".join(name or "-" for name in each.top_class)),
            " → ".join(f"{p:.4f}" for p in each.p_value),
        ]
        for each in comparison.changed
    ]
    table = html_table(["object", "alert", "#distance", "class", "#p-value"], rows)
    return f'<div class="panel scroll">{table}</div>'


def _stream(comparison: Comparison) -> str:
    sides = (comparison.first, comparison.second)
    rows = [
        ["alerts that only this one has", *(f"{side.only_here:,}" for side in sides)],
        ["more than one verdict on an alert", *(f"{side.duplicates:,}" for side in sides)],
        *(
            [f"latency, quantile {level}", *(f"{side.latency_s[level]:.3f} s" for side in sides)]
            for level in comparison.first.latency_s
        ),
    ]
    note = f"Of {comparison.same_inputs:.1%} of the alerts both read the same epochs and context."
    return f'<div class="panel">{html_table(["", "#first", "#second"], rows)}<p>{note}</p></div>'


def _steps(
    first: Sequence[int], second: Sequence[int], *, x_label: str, title: str, uniform: float | None = None
) -> str:
    highest = float(max(*first, *second, uniform or 1.0))
    frame = Frame(x_low=0.0, x_high=1.0, y_low=0.0, y_high=1.1 * highest)
    body = frame.axes(x_label=x_label, y_label="verdicts")
    if uniform is not None:
        level = frame.y(uniform)
        body += f'<path class="uniform" d="M{frame.left} {level:.1f}H{frame.right}"/>'
        body += text(frame.right - 4, level - 5, "uniform", anchor="end", css="note")
    for counts, css in ((first, "first"), (second, "second")):
        edges = np.repeat(np.arange(len(counts) + 1) / len(counts), 2)[1:-1]
        heights = np.repeat(counts, 2)
        body += line([(frame.x(x), frame.y(y)) for x, y in zip(edges, heights, strict=True)], css=css)
    described = f"First: {list(first)}. Second: {list(second)}"
    return figure(body, width=WIDTH, height=HEIGHT, title=title, description=described)


def _scatter(comparison: Comparison) -> str:
    frame = Frame(x_low=np.log10(LEAST_P), x_high=0.0, y_low=np.log10(LEAST_P), y_high=0.0)
    ticks = {float(power): f"1e{power}" if power else "1" for power in range(-4, 1)}
    body = frame.axes(
        x_label="p-value of the first (logarithmic)", y_label="of the second, log10", x_ticks=ticks
    )
    places = np.log10(np.maximum(np.array(comparison.points), LEAST_P))
    body += marks([(frame.x(x), frame.y(y)) for x, y in places], shape="circle", css="point")
    described = f"{len(places)} alerts, rank correlation of scores {_number(comparison.rank_correlation)}"
    return figure(body, width=WIDTH, height=HEIGHT, title="p-values of both", description=described)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
