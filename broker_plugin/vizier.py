# SPDX-License-Identifier: BSD-3-Clause
"""Tables of text as VizieR writes them: comments, a header, a line of units, one of dashes, and the rows.

Cells are parted by semicolons or tabs, and `#END#` stands at the end. Such a table is known by its dashes.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

__all__ = ["VizierTable", "arrow_options", "vizier_table"]

DELIMITERS = (";", "\t", "|", ",")

DASHES = re.compile(r"\s*-+\s*")

BELOW_HEADER = 2
"""Lines between the header and the first row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VizierTable:
    """How a table is written.

    Parameters
    ----------
    header_line, first_row_line
        Lines before the header, and before the first row; blank ones and comments count.
    units
        Of each column, empty where it has none.
    widths
        Characters of each column: a cell that says nothing is as many blanks.
    """

    header_line: int
    first_row_line: int
    delimiter: str
    units: tuple[str, ...]
    widths: tuple[int, ...]


def vizier_table(lines: Iterable[str]) -> VizierTable | None:
    r"""Return how a table is written that VizieR wrote, None where another did.

    Examples
    --------
    >>> vizier_table(["#a comment\n", "RAJ2000;Name\n", "deg; \n", "-----;----\n", "10.50;M31 \n"])
    VizierTable(header_line=1, first_row_line=4, delimiter=';', units=('deg', ''), widths=(5, 4))
    >>> vizier_table(["ra,dec\n", "10.5,-5.25\n"])
    """
    numbered = enumerate(line.rstrip("\r\n") for line in lines)
    told = ((place, line) for place, line in numbered if line.strip() and not line.startswith("#"))
    # Below the header each line counts: where no column has a unit, that of the units is blank.
    head = [*islice(told, 1), *islice(numbered, BELOW_HEADER)]
    if len(head) <= BELOW_HEADER:
        return None
    (place, header), (_, units), (_, dashes) = head
    delimiter = next((each for each in DELIMITERS if each in dashes), DELIMITERS[0])
    cells = dashes.split(delimiter)
    if not all(map(DASHES.fullmatch, cells)) or len(cells) != len(header.split(delimiter)):
        return None
    written = [unit.strip() for unit in units.split(delimiter)]
    written += [""] * (len(cells) - len(written))
    return VizierTable(
        header_line=place,
        first_row_line=place + 1 + BELOW_HEADER,
        delimiter=delimiter,
        units=tuple(written[: len(cells)]),
        widths=tuple(map(len, cells)),
    )


def arrow_options(path: Path) -> dict[str, Any]:
    """Return the options with which `pyarrow.csv` reads a file; none where VizieR did not write it."""
    from pyarrow import csv

    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", errors="replace") as lines:
        table = vizier_table(lines)
    if table is None:
        return {}
    below_header = table.first_row_line - table.header_line - 1
    blanks = [" " * width for width in sorted(set(table.widths))]
    return {
        "convert_options": csv.ConvertOptions(null_values=[*csv.ConvertOptions().null_values, *blanks]),
        "read_options": csv.ReadOptions(skip_rows=table.header_line, skip_rows_after_names=below_header),
        "parse_options": csv.ParseOptions(
            delimiter=table.delimiter,
            invalid_row_handler=lambda row: "skip" if row.text.startswith("#") else "error",
        ),
    }
