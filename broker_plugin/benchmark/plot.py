# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark's document as one drawing: stages, and the cost by history, batch and processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from broker_plugin.benchmark.report import processor_line
from broker_plugin.benchmark.stages import STAGES
from broker_plugin.demo.svg import Frame, figure, line, marks, text

__all__ = ["drawing"]

Document = Mapping[str, Any]

WIDTH, HEIGHT = 900.0, 560.0

COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb", "#222222")
"""Paul Tol's bright scheme, which the colour-blind can tell apart; one colour a stage."""

STYLE = """<style>
svg { background: #fff; font: 11px sans-serif }
.plot { fill: none; stroke: #999 } .grid { stroke: #e4e4e4 } .tick { fill: #444 }
.label, .title { fill: #111 }
.title { font-weight: bold } .curve { fill: none; stroke: #4477aa; stroke-width: 1.6 } .mark { fill: #4477aa }
</style>"""

LEFT, RIGHT = (62.0, 430.0), (520.0, 888.0)
UPPER, LOWER = (58.0, 230.0), (330.0, 490.0)
"""Edges of the four panels in pixels."""


def drawing(document: Document) -> str:
    """Return the drawing as a whole SVG file."""
    growth = document["growth"]
    body = "".join(
        (
            STYLE,
            text(12, 18, processor_line(document), css="tick"),
            _stages(document["stages"]),
            _curve(growth["history"], "rows", RIGHT, UPPER, "By rows of history", cost=True),
            _curve(growth["batch"], "batch", LEFT, LOWER, "By size of the batch"),
            _curve(growth["workers"], "workers", RIGHT, LOWER, "By number of processes"),
        )
    )
    drawn = figure(
        body, width=WIDTH, height=HEIGHT, title="Benchmark", description="Stages and growth of the cost"
    )
    return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def _stages(stages: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Return a bar for each corpus, the shares of the stages side by side, and what they are."""
    left, right = LEFT
    top, bottom = UPPER
    parts = [text(left, top - 10, "Share of each stage, and microseconds of an alert", css="title")]
    height = (bottom - top) / max(len(stages), 1)
    for row, (name, found) in enumerate(stages.items()):
        y, x = top + row * height, left
        for stage, colour in zip(STAGES, COLOURS, strict=True):
            wide = found[stage]["share"] * (right - left - 50)
            what = f"{name}: {STAGES[stage]}, {found[stage]['us_per_alert']:,.1f} us"
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{height * 0.6:.1f}" '
                f'fill="{colour}"><title>{escape(what)}</title></rect>'
            )
            x += wide
        total = sum(found[stage]["us_per_alert"] for stage in STAGES)
        parts.append(text(left - 6, y + height * 0.4, name, anchor="end"))
        parts.append(text(x + 5, y + height * 0.4, f"{total:,.0f}"))
    for number, (stage, colour) in enumerate(zip(STAGES, COLOURS, strict=True)):
        x, y = left + (number % 4) * 95.0, bottom + 14 + (number // 4) * 16
        parts.append(f'<rect x="{x:.1f}" y="{y - 8:.1f}" width="9" height="9" fill="{colour}"/>')
        parts.append(text(x + 13, y, stage))
    return "".join(parts)


def _curve(
    points: Sequence[Mapping[str, float]],
    axis: str,
    across: tuple[float, float],
    down: tuple[float, float],
    title: str,
    *,
    cost: bool = False,
) -> str:
    """Return one panel, alerts a second or (as cost) microseconds of processor time an alert."""
    heading = text(across[0], down[0] - 10, title, css="title")
    if not points:
        return heading + text(across[0], down[0] + 20, "not measured")
    xs = [float(point[axis]) for point in points]
    ys = [1e6 / point["alerts_per_cpu_s"] if cost else point["alerts_per_s"] for point in points]
    frame = Frame(
        x_low=0.0,
        x_high=1.05 * max(xs),
        y_low=0.0,
        y_high=1.1 * max(ys),
        left=across[0],
        right=across[1],
        top=down[0],
        bottom=down[1],
    )
    places = [(frame.x(x), frame.y(y)) for x, y in zip(xs, ys, strict=True)]
    label = title.removeprefix("By ")
    axes = frame.axes(
        x_label=label,
        y_label="",
        x_ticks={x: f"{x:.0f}" for x in xs} if axis == "workers" else 6,
    )
    unit = text(across[1], down[0] - 10, "us an alert, one core" if cost else "alerts/s", anchor="end")
    return heading + unit + axes + line(places, css="curve") + marks(places, shape="circle", css="mark")
