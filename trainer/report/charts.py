# SPDX-License-Identifier: BSD-3-Clause
"""The charts of the report, drawn with the parts of the demo's: SVG that follows the page's colours.

Series are told apart by colour, by mark and by dash, so that one is enough.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from broker_plugin.demo.svg import Frame, bars, figure, line, marks, text

__all__ = ["Series", "Whisker", "key", "lines_chart", "reliability_chart", "whiskers_chart"]

WIDTH, HEIGHT = 470.0, 226.0

SHAPES = ("circle", "up", "square", "diamond", "down", "pentagon")
"""Marks of the series, in their order; a seventh starts again."""

SIDESTEP_PX = 2.5
"""Series are drawn this far apart, so that their intervals do not hide one another."""

ROW_PX = 17.0
"""Height of a line of a chart of whiskers: two lines of text must not touch."""

NAMES_PX = 150.0
"""Room for the names beside such a chart."""

MARGIN = 0.06
"""Share of the range of values that stays free on either side."""

Interval = Sequence[float]
"""Value, low end, high end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A line of values with intervals; a place without a value is left out."""

    name: str
    points: Mapping[float, Interval]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisker:
    """A value with its interval on a line of its own."""

    name: str
    interval: Interval
    series: int = 0


def lines_chart(
    series: Sequence[Series], *, x_ticks: Mapping[float, str], x_label: str, y_label: str, title: str
) -> str:
    """Return lines of measures against the logarithm of a number.

    Parameters
    ----------
    x_ticks
        The numbers to be marked, and what is written there.
    """
    values = [end for each in series for point in each.points.values() for end in point]
    if not values:
        return ""
    low, high = _range(values)
    places = {math.log10(value): name for value, name in x_ticks.items()}
    frame = Frame(x_low=min(places) - 0.1, x_high=max(places) + 0.1, y_low=low, y_high=high)
    body = frame.axes(x_label=x_label, y_label=y_label, x_ticks=places)
    for number, each in enumerate(series):
        aside = SIDESTEP_PX * (number - (len(series) - 1) / 2)
        at = [(frame.x(math.log10(place)) + aside, point) for place, point in sorted(each.points.items())]
        css = f"series-{number % len(SHAPES)}"
        body += bars(((x, frame.y(point[1]), frame.y(point[2])) for x, point in at), css=f"whisker {css}")
        body += line([(x, frame.y(point[0])) for x, point in at], css=f"trace {css}")
        body += marks(
            [(x, frame.y(point[0])) for x, point in at],
            shape=SHAPES[number % len(SHAPES)],
            css=f"mark {css}",
        )
    described = "; ".join(
        f"{each.name}: "
        + ", ".join(f"{x_ticks[place]} {point[0]:.2f}" for place, point in each.points.items())
        for each in series
    )
    return figure(body, width=WIDTH, height=HEIGHT, title=title, description=described)


def reliability_chart(bins: Sequence[Mapping[str, float]], *, title: str) -> str:
    """Return accuracy against confidence, a mark a bin, its area with the number of stars."""
    frame = Frame(x_low=0.0, x_high=1.0, y_low=0.0, y_high=1.0, right=244.0)
    body = frame.axes(x_label="confidence", y_label="accuracy", x_ticks=4, y_ticks=4)
    body += line([(frame.x(0.0), frame.y(0.0)), (frame.x(1.0), frame.y(1.0))], css="uniform")
    most = max((each["n"] for each in bins), default=1.0)
    body += line([(frame.x(b["confidence"]), frame.y(b["accuracy"])) for b in bins], css="trace series-0")
    for each in bins:
        radius = 1.5 + 5.5 * math.sqrt(each["n"] / most)
        body += (
            f'<circle class="mark series-0" cx="{frame.x(each["confidence"]):.1f}" '
            f'cy="{frame.y(each["accuracy"]):.1f}" r="{radius:.1f}"/>'
        )
    described = ", ".join(f"{b['confidence']:.2f}: {b['accuracy']:.2f} of {b['n']:.0f}" for b in bins)
    return figure(body, width=260.0, height=HEIGHT, title=title, description=described)


def whiskers_chart(whiskers: Sequence[Whisker], *, x_label: str, title: str, zero: bool = False) -> str:
    """Return values with intervals under one another.

    Parameters
    ----------
    zero
        Draw a line at zero, for differences.
    """
    if not whiskers:
        return ""
    low, high = _range([end for each in whiskers for end in each.interval] + ([0.0] if zero else []))
    bottom = 12.0 + ROW_PX * len(whiskers)
    frame = Frame(x_low=low, x_high=high, y_low=0.0, y_high=1.0, left=NAMES_PX, bottom=bottom)
    body = frame.axes(x_label=x_label, y_label="", y_ticks=0)
    if zero:
        body += line([(frame.x(0.0), frame.top), (frame.x(0.0), bottom)], css="uniform")
    for row, each in enumerate(whiskers):
        y = 12.0 + ROW_PX * (row + 0.5)
        css = f"series-{each.series % len(SHAPES)}"
        value, first, last = (frame.x(end) for end in each.interval)
        body += text(NAMES_PX - 6, y + 3.5, each.name, anchor="end", css="tick")
        body += line([(first, y), (last, y)], css=f"whisker {css}")
        body += marks([(value, y)], shape=SHAPES[each.series % len(SHAPES)], css=f"mark {css}")
    described = "; ".join(
        f"{each.name} {each.interval[0]:.3f} ({each.interval[1]:.3f} to {each.interval[2]:.3f})"
        for each in whiskers
    )
    return figure(body, width=WIDTH, height=bottom + 36, title=title, description=described)


def key(names: Sequence[str]) -> str:
    """Return what the marks of the series stand for."""
    shown = "".join(
        f'<span><svg viewBox="0 0 12 12" aria-hidden="true">'
        f"{marks([(6.0, 6.0)], shape=SHAPES[k % len(SHAPES)], css=f'mark series-{k % len(SHAPES)}')}</svg> "
        f"{escape(name)}</span>"
        for k, name in enumerate(names)
    )
    return f'<p class="key">{shown}</p>'


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = MARGIN * (high - low) or 0.05
    return low - margin, high + margin
