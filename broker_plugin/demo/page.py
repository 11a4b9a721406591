# SPDX-License-Identifier: BSD-3-Clause
"""The frame of a report: one HTML page without scripts that loads nothing, for screens and paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template

__all__ = ["PageSection", "definitions", "render_page", "tiles"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSection:
    """A part of the page with its anchor, heading and HTML."""

    name: str
    title: str
    body: str


def render_page(
    *,
    title: str,
    eyebrow: str,
    lede: str,
    head: str,
    sections: Sequence[PageSection],
    colophon: str,
    links: str = "",
    banner: str = "",
    style: str = "",
) -> str:
    """Return the page.

    Parameters
    ----------
    title, eyebrow, lede
        Texts; the title stands in the heading too.
    head
        HTML under them: tiles, a remark.
    links
        HTML of further links, after those to the sections.
    banner
        Text of a warning above everything, empty for none.
    style
        Further CSS.
    """
    assets = resources.files("broker_plugin.demo")
    return Template(assets.joinpath("report.html").read_text("utf-8")).substitute(
        title=escape(title),
        style=assets.joinpath("report.css").read_text("utf-8") + style,
        banner=f'<div class="banner" role="note">{escape(banner)}</div>' if banner else "",
        eyebrow=escape(eyebrow),
        lede=escape(lede),
        head=head,
        navigation="".join(f'<a href="#{part.name}">{escape(part.title)}</a>' for part in sections) + links,
        sections="".join(
            f'<section id="{part.name}"><h2>{escape(part.title)}</h2>{part.body}</section>'
            for part in sections
        ),
        colophon=colophon,
    )


def tiles(facts: Iterable[tuple[str, str]]) -> str:
    """Return numbers with what they are, as a row of tiles."""
    shown = "".join(f"<li><strong>{escape(a)}</strong><span>{escape(b)}</span></li>" for a, b in facts)
    return f'<ul class="tiles">{shown}</ul>'


def definitions(facts: Iterable[tuple[str, str]]) -> str:
    """Return names and values as a list."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return f"<dl>{rows}</dl>"
