# SPDX-License-Identifier: BSD-3-Clause
"""Tables of the reports, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["confusion_table", "html_table"]


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "") -> str:
    """Return a table of cells that are HTML already; a column whose name begins with # holds numbers.

    Examples
    --------
    >>> html_table(["#n"], [["1"]]).partition("<tbody>")[2]
    '<tr><td class="n">1</td></tr></tbody></table>'
    """
    css = [' class="n"' if name.startswith("#") else "" for name in head]
    names = "".join(
        f'<th scope="col"{c}>{escape(name.lstrip("#"))}</th>' for name, c in zip(head, css, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{c}>{cell}</td>" for cell, c in zip(row, css, strict=True)) + "</tr>"
        for row in rows
    )
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{above}<thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def confusion_table(
    classes: Sequence[str], counts: Sequence[Sequence[int]], *, corner: str, caption: str = ""
) -> str:
    """Return a confusion matrix, true classes in rows; rows without an object are left out.

    Parameters
    ----------
    corner
        What rows and columns are.
    """
    rows = []
    for name, of_class in zip(classes, counts, strict=True):
        total = int(sum(of_class))
        if total:
            cells = "".join(
                _cell(int(count), total, hit=other == name)
                for other, count in zip(classes, of_class, strict=True)
            )
            rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}<td>{total}</td></tr>')
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in classes)
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<table class="matrix">{above}<thead><tr><th>{escape(corner)}</th>{columns}'
        f'<th scope="col">all</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _cell(count: int, total: int, *, hit: bool) -> str:
    css = ' class="hit"' if hit else ""
    if not count:
        return f"<td{css}>·</td>"
    colour, share = "--good" if hit else "--strange", 12 + 60 * count / total
    shade = f"background:color-mix(in srgb, var({colour}) {share:.0f}%, transparent)"
    return f'<td{css} style="{shade}">{count}</td>'
