# SPDX-License-Identifier: BSD-3-Clause
"""The few parts that the report's charts are drawn with: axes, marks and text, as SVG.

Colours are CSS variables of the page, so that one drawing serves light and dark screens and paper. Marks of
one kind are one path: a night's light curves stay small.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

__all__ = ["Frame", "bars", "figure", "line", "marks", "nice_ticks", "number", "text"]

MARK_PX = 3.0
"""Half the size of a mark: at 2 the six shapes are no longer told apart, at 4 dense light curves clump."""

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A plot's area in pixels, and the range of data that it shows."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    left: float = 58.0
    right: float = 426.0
    top: float = 12.0
    bottom: float = 190.0

    def x(self, value: float) -> float:
        """Return the horizontal place of a value."""
        return self.left + (value - self.x_low) / (self.x_high - self.x_low) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Return the vertical place of a value; larger is higher."""
        return self.bottom - (value - self.y_low) / (self.y_high - self.y_low) * (self.bottom - self.top)

    def axes(
        self, *, x_label: str, y_label: str, x_ticks: int | Mapping[float, str] = 6, y_ticks: int = 5
    ) -> str:
        """Return grid, tick labels and axis labels.

        Parameters
        ----------
        x_ticks, y_ticks
            About how many ticks, 0 for none; or where they are and what they say.
        """
        parts = [
            f'<rect class="plot" x="{self.left}" y="{self.top}" width="{self.right - self.left}" '
            f'height="{self.bottom - self.top}"/>'
        ]
        if isinstance(x_ticks, int):
            x_ticks = {value: number(value) for value in nice_ticks(self.x_low, self.x_high, x_ticks)}
        for value, name in x_ticks.items():
            place = self.x(value)
            parts.append(f'<path class="grid" d="M{place:.1f} {self.top}V{self.bottom}"/>')
            parts.append(text(place, self.bottom + 14, name, anchor="middle", css="tick"))
        for value in nice_ticks(self.y_low, self.y_high, y_ticks) if y_ticks else ():
            place = self.y(value)
            parts.append(f'<path class="grid" d="M{self.left} {place:.1f}H{self.right}"/>')
            parts.append(text(self.left - 6, place + 3.5, number(value), anchor="end", css="tick"))
        centre = (self.left + self.right) / 2
        parts.append(text(centre, self.bottom + 30, x_label, anchor="middle", css="label"))
        middle = (self.top + self.bottom) / 2
        parts.append(
            f'<text class="label" text-anchor="middle" transform="translate(10 {middle:.1f}) rotate(-90)">'
            f"{escape(y_label)}</text>"
        )
        return "".join(parts)


def figure(body: str, *, width: float, height: float, title: str, description: str) -> str:
    """Return a whole drawing with its alternative text."""
    label = escape(f"{title}. {description}", quote=True)
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{label}">{body}</svg>'


def text(x: float, y: float, content: str, *, anchor: str = "start", css: str = "tick") -> str:
    """Return one line of text."""
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def marks(places: Iterable[tuple[float, float]], *, shape: str, css: str) -> str:
    """Return marks of one shape at places in pixels, as one path."""
    path = "".join(_circle(x, y) if shape == "circle" else _polygon(x, y, _CORNERS[shape]) for x, y in places)
    return f'<path class="{css}" d="{path}"/>' if path else ""


def bars(places: Iterable[tuple[float, float, float]], *, css: str) -> str:
    """Return error bars (x, from y, to y) in pixels, as one path."""
    path = "".join(f"M{x:.1f} {low:.1f}V{high:.1f}" for x, low, high in places)
    return f'<path class="{css}" d="{path}"/>' if path else ""


def line(places: Sequence[tuple[float, float]], *, css: str) -> str:
    """Return a line through places in pixels."""
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    return f'<path class="{css}" d="M{path}"/>' if path else ""


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` round values between two.

    Examples
    --------
    >>> nice_ticks(0.0, 10.0, 5)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    span = high - low
    if not span > 0:
        return [low]
    rough = span / count
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * factor for factor in STEPS if power * factor >= rough * 0.999)
    first = np.ceil(low / step - 1e-9)
    ticks = [float((first + index) * step) for index in range(int(span / step) + 2)]
    return [round(tick, 12) for tick in ticks if low - 1e-9 * span <= tick <= high + 1e-9 * span]


def number(value: float) -> str:
    """Return a number as short as it can be read.

    Examples
    --------
    >>> number(1200.0), number(0.25), number(-3.0), number(2500000.0)
    ('1,200', '0.25', '\N{MINUS SIGN}3', '2.5e+06')
    """
    if abs(value) >= 1e5:
        return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
    return f"{value:,.6g}".replace("-", "\N{MINUS SIGN}")


def _circle(x: float, y: float) -> str:
    r = MARK_PX * 0.9
    return f"M{x - r:.1f} {y:.1f}a{r:.1f} {r:.1f} 0 1 0 {2 * r:.1f} 0a{r:.1f} {r:.1f} 0 1 0 {-2 * r:.1f} 0z"


def _polygon(x: float, y: float, corners: Sequence[tuple[float, float]]) -> str:
    points = "L".join(f"{x + MARK_PX * dx:.1f} {y + MARK_PX * dy:.1f}" for dx, dy in corners)
    return f"M{points}z"


_UP = ((0.0, -1.2), (1.1, 0.8), (-1.1, 0.8))
_DOWN = ((0.0, 1.2), (1.1, -0.8), (-1.1, -0.8))
_SQUARE = ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85))
_DIAMOND = ((0.0, -1.25), (1.05, 0.0), (0.0, 1.25), (-1.05, 0.0))
_PENTAGON = tuple(
    (float(1.1 * np.sin(2 * np.pi * k / 5)), float(-1.1 * np.cos(2 * np.pi * k / 5))) for k in range(5)
)

_CORNERS = {"up": _UP, "down": _DOWN, "square": _SQUARE, "diamond": _DIAMOND, "pentagon": _PENTAGON}
