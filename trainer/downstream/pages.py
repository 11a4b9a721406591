# SPDX-License-Identifier: BSD-3-Clause
"""Pages of light curves: one HTML file each that needs nothing but itself, drawn as the demo's report is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from broker_plugin.demo.cards import ECLIPSING
from broker_plugin.demo.figures import folded_figure, light_curve_figure
from broker_plugin.records import LightCurve
from trainer.downstream.common import write_file
from trainer.downstream.storage import read_curves
from trainer.downstream.table import About, Embeddings

__all__ = ["Section", "write_page"]

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
$style
.grid-of-cards { display: grid; gap: 18px;
  grid-template-columns: repeat(auto-fill, minmax(min(430px, 100%), 1fr)); }
</style>
</head>
<body>
$banner
<header><h1>$title</h1><p class="lede">$lede</p></header>
<main>
$sections
</main>
<footer><p>$footer</p></footer>
</body>
</html>
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Objects under a heading.

    Parameters
    ----------
    rows
        Their rows in the embeddings.
    remarks
        A line for each.
    """

    title: str
    text: str
    rows: Sequence[int]
    remarks: Sequence[str]


def write_page(
    path: Path, embeddings: Embeddings, source: Path, *, title: str, lede: str, sections: Sequence[Section]
) -> None:
    """Write a page of objects with their light curves, folded where there is a period.

    Parameters
    ----------
    source
        The file of the embeddings, which holds the light curves.
    """
    curves = read_curves(source, (int(embeddings.row[row]) for section in sections for row in section.rows))
    page = PAGE.substitute(
        title=escape(title),
        lede=escape(lede),
        style=resources.files("broker_plugin.demo").joinpath("report.css").read_text("utf-8"),
        banner=_banner(embeddings.about),
        sections="".join(_section(section, embeddings, curves) for section in sections),
        footer=escape(_footer(embeddings.about)),
    )
    write_file(path, page.encode())


def _section(section: Section, embeddings: Embeddings, curves: dict[int, LightCurve]) -> str:
    cards: Iterable[str] = (
        _card(embeddings, row, number, remark, curves[int(embeddings.row[row])])
        for number, (row, remark) in enumerate(zip(section.rows, section.remarks, strict=True), start=1)
    )
    return (
        f"<section><h2>{escape(section.title)}</h2><p>{escape(section.text)}</p>"
        f'<div class="grid-of-cards">{"".join(cards)}</div></section>'
    )


def _card(embeddings: Embeddings, row: int, number: int, remark: str, curve: LightCurve) -> str:
    name, label = str(embeddings.id[row]), str(embeddings.published[row] or embeddings.label[row])
    catalogued = f'<span class="chip">{escape(label)}</span>' if label else ""
    best = int(embeddings.probability[row].argmax())
    thought = f"model: {embeddings.about.classes[best]} {embeddings.probability[row, best]:.2f}"
    return (
        f'<article class="card"><header><span class="rank">{number}</span>'
        f'<h3 class="id">{escape(name)}</h3>{catalogued}<span class="chip">{escape(thought)}</span></header>'
        f'<p class="why">{escape(remark)}</p>{_drawing(embeddings, row, curve)}</article>'
    )


def _drawing(embeddings: Embeddings, row: int, curve: LightCurve) -> str:
    if len(curve) == 0:
        return "<p>no light curve</p>"
    name, last = str(embeddings.id[row]), float(curve.mjd_tai[-1])
    period = _period(embeddings, row)
    folded = (
        folded_figure(curve, alert_mjd=last, period_day=period, templates=(), name=name)
        if np.isfinite(period)
        else None
    )
    return folded or light_curve_figure(curve, alert_mjd=last, name=name)


def _period(embeddings: Embeddings, row: int) -> float:
    """Return the period to fold at: the catalogue's, else the one found, twice that of an eclipsing star."""
    catalogued = float(embeddings.catalogue_period_day[row])
    if np.isfinite(catalogued):
        return catalogued
    return float(embeddings.period_day[row]) * (2.0 if embeddings.top_class[row] in ECLIPSING else 1.0)


def _banner(about: About) -> str:
    if not about.simulated:
        return ""
    return '<div class="banner" role="note">SIMULATED OBJECTS: nothing on this page is on the sky</div>'


def _footer(about: About) -> str:
    epochs = "all epochs" if about.first is None else f"first {about.first} epochs"
    period = ", catalogue period given to the model" if about.period else ""
    return f"Bundle {about.bundle}, digest {about.bundle_digest[:16]}; {about.source}, {epochs}{period}."
