# SPDX-License-Identifier: BSD-3-Clause
"""The charts of a whole night: its p-values, and where on the sky its objects are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from broker_plugin.demo.findings import HISTOGRAM_BINS, ScoredObject
from broker_plugin.demo.svg import Frame, figure, line, marks, text

__all__ = ["histogram_figure", "sky_figure"]

WIDTH, HEIGHT = 470.0, 226.0

NUMBERED = 5
"""Objects whose rank is written beside them; more would overlap."""

SKY_PX = 80.0
"""Pixels per unit of the projection, whose half width is 2.83."""


def histogram_figure(stellar: NDArray[np.int64], others: NDArray[np.int64]) -> str:
    """Return the night's p-values: stellar sources, and stacked on them all others."""
    total = stellar + others
    expected = float(total.sum()) / HISTOGRAM_BINS
    frame = Frame(x_low=0.0, x_high=1.0, y_low=0.0, y_high=max(float(total.max()) * 1.1, expected * 1.5, 1.0))
    body = frame.axes(x_label="p-value: share of ordinary stars at least as strange", y_label="verdicts")
    width = 1.0 / HISTOGRAM_BINS
    for place, (low, high) in enumerate(zip(stellar, total, strict=True)):
        left, right = frame.x(place * width) + 0.75, frame.x((place + 1) * width) - 0.75
        for css, start, stop in (("bar", 0, int(low)), ("bar other", int(low), int(high))):
            if stop > start:
                top = frame.y(stop)
                body += (
                    f'<rect class="{css}" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
                    f'height="{frame.y(start) - top:.1f}"/>'
                )
    level = frame.y(expected)
    body += f'<path class="uniform" d="M{frame.left} {level:.1f}H{frame.right}"/>'
    body += text(
        frame.right - 4, level - 5, "uniform: what ordinary stars would give", anchor="end", css="note"
    )
    described = f"{int(total.sum())} verdicts, {int(total[0])} of them below {width:g}"
    return figure(body, width=WIDTH, height=HEIGHT, title="Histogram of p-values", description=described)


def sky_figure(ranked: Sequence[ScoredObject], *, n_strangest: int) -> str:
    """Return the objects on the sky in a Hammer projection, right ascension growing to the left."""
    width, height = 470.0, 244.0
    body = ""
    for ra in np.linspace(-179.999, 179.999, 7):
        body += line([_hammer(ra, dec) for dec in np.linspace(-90, 90, 61)], css="grid")
    for dec in (-60, -30, 0, 30, 60):
        body += line([_hammer(ra, dec) for ra in np.linspace(-179.999, 179.999, 121)], css="grid")
    for ra in (-120, -60, 0, 60, 120):
        x, y = _hammer(ra, 0)
        body += text(x + 3, y - 3, f"{ra % 360 // 15}h", css="tick")
    # The strangest are drawn last, so that they lie on top.
    for scored in reversed(ranked):
        shape, css = ("down", "ztf") if scored.verdict.survey == "ztf" else ("circle", "lsst")
        place = _hammer(scored.verdict.ra_deg, scored.verdict.dec_deg)
        strange = scored.rank <= n_strangest
        body += marks([place], shape=shape, css=f"sky {css}{' strange' if strange else ''}")
        if strange and scored.rank <= NUMBERED:
            body += text(place[0] + 6, place[1] + 3, str(scored.rank), css="note")
    surveys = sorted({scored.verdict.survey.upper() for scored in ranked})
    return figure(
        body,
        width=width,
        height=height,
        title="Objects on the sky",
        description=f"{len(ranked)} objects of {' and '.join(surveys)}, the {n_strangest} strangest filled",
    )


def _hammer(ra_deg: float, dec_deg: float) -> tuple[float, float]:
    longitude = np.radians((ra_deg + 180.0) % 360.0 - 180.0)
    latitude = np.radians(dec_deg)
    scale = np.sqrt(2.0 / (1.0 + np.cos(latitude) * np.cos(longitude / 2)))
    x = 2.0 * scale * np.cos(latitude) * np.sin(longitude / 2)
    y = scale * np.sin(latitude)
    return 235.0 - SKY_PX * float(x), 122.0 - SKY_PX * float(y)
