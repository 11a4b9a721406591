# SPDX-License-Identifier: BSD-3-Clause
"""Watch lists from files: CSV, or VOTable as TOPCAT and VizieR write it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from broker_plugin.client.subscription import warn_in_log
from broker_plugin.client.watch import ON_SKY, WatchList, is_possible
from broker_plugin.client.watch_columns import COLUMNS, Spelling, angle, choose_columns, folded, unit_of
from broker_plugin.errors import ConfigurationError
from broker_plugin.object_names import is_object_name, object_name
from broker_plugin.vizier import vizier_table

__all__ = ["RADIUS_ARCSEC", "read_watch_list"]

RADIUS_ARCSEC = 2.0
"""Radius of rows without one, ten times the scatter of ZTF's positions of a faint source."""

NO_UNIT = ("ra", "_ra", "raj2000", "ra_icrs")
"""Columns of right ascensions that may hold hours."""

HOURS_MIN = 5
"""Positions from which it is odd that none has a right ascension above 24: degrees are so by chance in one of
a million lists. Fewer, and a list of one galaxy is suspected."""

VOTABLE_SUFFIXES = (".vot", ".votable", ".xml")

WANTED = "give it a column object_id, or columns ra and dec in degrees (and radius in arcsec, and name)"


@dataclass(slots=True)
class _Columns:
    numbers: list[int] = field(default_factory=list)
    ra_deg: list[float] = field(default_factory=list)
    dec_deg: list[float] = field(default_factory=list)
    radius_arcsec: list[float] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    object_ids: dict[str, str] = field(default_factory=dict)


class Cell(NamedTuple):
    """What a row has in one of its columns."""

    column: str
    text: str

    @property
    def angle(self) -> float:
        """Its angle, as of `watch_columns.angle`."""
        return angle(self.text, self.column)


def read_watch_list(
    path: Path | str,
    *,
    radius_arcsec: float = RADIUS_ARCSEC,
    warn: Callable[[str], None] = warn_in_log,
) -> WatchList:
    r"""Read a watch list: objects by name, or cones where a row has a position.

    Of several columns with positions one in decimal degrees is taken; else sexagesimal is read, hours for a
    right ascension. A radius is in arcsec, or in what its column's name says (`radius_arcmin`).

    Parameters
    ----------
    path
        A CSV file with a header, lines that begin with `#` left out, VizieR's text with its lines of units
        and dashes, or a VOTable (`.vot`, `.votable`, `.xml`; needs astropy).
    radius_arcsec
        Radius of rows that have none.
    warn
        Is told of what is odd.

    Raises
    ------
    ConfigurationError
        If it cannot be read, or holds a row that is neither; the message says which.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "mine.csv"
    >>> _ = path.write_text("name,ra,dec,radius\nM-1,10.0,-5.0,3\nM-2,11.0,-5.0,\n")
    >>> mine = read_watch_list(path)
    >>> len(mine), mine.matches("ztf:ZTF18abcdefg", 11.0, -5.0)
    (2, ['M-2'])
    """
    path = Path(path)
    votable = path.suffix.lower() in VOTABLE_SUFFIXES
    try:
        header, rows = _read_votable(path) if votable else _read_csv(path)
    except OSError as error:
        raise ConfigurationError(f"cannot read the watch list {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path} is no CSV: {error}", remedy=WANTED) from error
    try:
        places = choose_columns(header, [row for _, row in rows])
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.found}", remedy=error.remedy) from None
    if "object_id" not in places and not {"ra_deg", "dec_deg"} <= places.keys():
        raise ConfigurationError(f"no objects or positions in {path}", remedy=WANTED)
    columns, unit = _Columns(), "row" if votable else "line"
    for number, row in rows:
        try:
            _take(columns, number, _cells(row, places), radius_arcsec)
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{unit} {number} of {path}: {error.found}", remedy=error.remedy
            ) from None
    if not (columns.object_ids or columns.names):
        raise ConfigurationError(f"the watch list {path} is empty", remedy=WANTED)
    possible = is_possible(columns.ra_deg, columns.dec_deg, columns.radius_arcsec)
    if not possible.all():
        number = columns.numbers[int(np.argmin(possible))]
        raise ConfigurationError(
            f"{unit} {number} of {path} has an impossible position or radius", remedy=ON_SKY
        )
    if "ra_deg" in places and _may_be_hours(places["ra_deg"][1], columns.ra_deg) and not votable:
        warn(f"no right ascension in {path} is above 24; if they are hours, call the column ra_hours")
    return WatchList.from_columns(
        ra_deg=columns.ra_deg,
        dec_deg=columns.dec_deg,
        radius_arcsec=columns.radius_arcsec,
        names=columns.names,
        object_ids=columns.object_ids,
    )


def _cells(row: Sequence[str], places: Mapping[str, Spelling]) -> dict[str, Cell]:
    """Return what a row says, by our name of its columns; what is blank is left out."""
    return {
        name: Cell(column, row[place].strip())
        for name, (place, column) in places.items()
        if place < len(row) and row[place].strip()
    }


def _may_be_hours(column: str, ra_deg: Sequence[float]) -> bool:
    return column in NO_UNIT and len(ra_deg) >= HOURS_MIN and max(ra_deg) <= 24.0


def _take(columns: _Columns, number: int, row: Mapping[str, Cell], radius_arcsec: float) -> None:
    """Take a row in; raise `ConfigurationError` if it is neither an object nor a cone."""
    name = row["name"].text if "name" in row else ""
    if "ra_deg" in row or "dec_deg" in row:
        if not {"ra_deg", "dec_deg"} <= row.keys():
            raise ConfigurationError("there is half a position", remedy=WANTED)
        columns.numbers.append(number)
        columns.ra_deg.append(row["ra_deg"].angle)
        columns.dec_deg.append(row["dec_deg"].angle)
        columns.radius_arcsec.append(row["radius_arcsec"].angle if "radius_arcsec" in row else radius_arcsec)
        columns.names.append(name or (row["object_id"].text if "object_id" in row else ""))
    # Beside a position it may be anybody's name of the place.
    if "object_id" in row and ("ra_deg" not in row or is_object_name(row["object_id"].text)):
        columns.object_ids[object_name(row["object_id"].text)] = name
    elif "ra_deg" not in row and row:
        raise ConfigurationError("there is no object and no position", remedy=WANTED)


def _read_csv(path: Path) -> tuple[list[str], Sequence[tuple[int, list[str]]]]:
    with path.open(newline="", encoding="utf-8-sig") as source:
        table = vizier_table(source)
        source.seek(0)
        below_header = range(table.header_line + 1, table.first_row_line) if table else range(0)
        # What is left out leaves its line, so that the others keep their numbers.
        kept = (
            "\n" if line.startswith("#") or place in below_header else line
            for place, line in enumerate(source)
        )
        lines = csv.reader(kept, delimiter=table.delimiter if table else ",")
        rows = [(lines.line_num, row) for row in lines if any(row)]
    header = rows[0][1] if rows else []
    return [*map(_in_own_unit, header, table.units)] if table else header, rows[1:]


def _in_own_unit(name: str, unit: str) -> str:
    """Return a column's name with its unit, where that makes it another one that is known."""
    with_unit = f"{name} [{unit}]"
    known = {each for spellings in COLUMNS.values() for each in spellings}
    return with_unit if folded(with_unit) in known else name


def _read_votable(path: Path) -> tuple[list[str], Sequence[tuple[int, list[str]]]]:
    try:
        from astropy.io.votable import parse_single_table
    except ImportError:
        raise ConfigurationError(
            "reading a VOTable needs astropy", remedy="pip install astropy, or save the list as CSV"
        ) from None
    try:
        table = parse_single_table(path, verify="ignore").to_table()
    except OSError:
        raise
    except Exception as error:  # whatever a parser of foreign XML finds wrong
        raise ConfigurationError(
            f"{path} is no VOTable: {error}", remedy="save it again, or as CSV"
        ) from error
    named = [_standard_name(column) for column in table.itercols()]
    columns = [
        _in_unit(column, unit_of(folded(name))[0])
        for name, column in zip(named, table.itercols(), strict=True)
    ]
    return named, list(enumerate(([*row] for row in zip(*columns, strict=True)), 1))


def _standard_name(column: Any) -> str:
    """Return a column's name; the main position is known by its UCD, whatever it is called."""
    ucd = str(column.meta.get("ucd", "")).casefold()
    for name, kind in (("ra_deg", "pos.eq.ra;meta.main"), ("dec_deg", "pos.eq.dec;meta.main")):
        if ucd == kind:
            return name
    return str(column.name)


def _in_unit(column: Any, unit: str) -> list[str]:
    """Return a column as text, angles in the unit that is wanted; what is masked is empty."""
    if column.unit is not None and column.unit.is_equivalent(unit):
        column = column.copy()
        column.convert_unit_to(unit)
    masked = getattr(column, "mask", None)
    texts = [value.decode() if isinstance(value, bytes) else str(value) for value in column.tolist()]
    return (
        texts
        if masked is None
        else ["" if hidden else text for text, hidden in zip(texts, masked, strict=True)]
    )
