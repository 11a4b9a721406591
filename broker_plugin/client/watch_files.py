# SPDX-License-Identifier: BSD-3-Clause
"""Watch lists from files: CSV, or VOTable as TOPCAT and VizieR write it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from broker_plugin.client.watch import ON_SKY, WatchList, is_possible
from broker_plugin.errors import ConfigurationError

__all__ = ["RADIUS_ARCSEC", "read_watch_list"]

RADIUS_ARCSEC = 2.0
"""Radius of rows without one, ten times the scatter of ZTF's positions of a faint source."""

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "object_id": ("object_id", "objectid", "object", "oid", "diaobjectid"),
    "ra_deg": ("ra_deg", "ra", "raj2000", "ra_icrs", "_ra", "_raj2000"),
    "dec_deg": ("dec_deg", "dec", "dej2000", "decj2000", "de_icrs", "dec_icrs", "_de", "_dej2000"),
    "radius_arcsec": ("radius_arcsec", "radius", "arcsec"),
    "name": ("name", "target", "label", "main_id"),
}
"""What a column may be called, in any case."""

VOTABLE_SUFFIXES = (".vot", ".votable", ".xml")

WANTED = "give it a column object_id, or columns ra and dec in degrees (and radius in arcsec, and name)"


@dataclass(slots=True)
class _Columns:
    numbers: list[int] = field(default_factory=list)
    ra_deg: list[float] = field(default_factory=list)
    dec_deg: list[float] = field(default_factory=list)
    radius_arcsec: list[float] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    object_ids: list[str] = field(default_factory=list)


def read_watch_list(path: Path | str, *, radius_arcsec: float = RADIUS_ARCSEC) -> WatchList:
    r"""Read a watch list: objects by name, or cones where a row has a position.

    Parameters
    ----------
    path
        A CSV file with a header, lines that begin with `#` left out, or a VOTable (`.vot`, `.votable`,
        `.xml`; needs astropy).
    radius_arcsec
        Radius of rows that have none.

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
    places = _places(header)
    if "object_id" not in places and not {"ra_deg", "dec_deg"} <= places.keys():
        raise ConfigurationError(f"no objects or positions in {path}", remedy=WANTED)
    columns, unit = _Columns(), "row" if votable else "line"
    for number, row in rows:
        found = {name: row[place].strip() for name, place in places.items() if place < len(row)}
        try:
            _take(columns, number, found, radius_arcsec)
        except ValueError:
            raise ConfigurationError(
                f"{unit} {number} of {path} is no object and no cone", remedy=WANTED
            ) from None
    if not (columns.object_ids or columns.names):
        raise ConfigurationError(f"the watch list {path} is empty", remedy=WANTED)
    possible = is_possible(columns.ra_deg, columns.dec_deg, columns.radius_arcsec)
    if not possible.all():
        number = columns.numbers[int(np.argmin(possible))]
        raise ConfigurationError(
            f"{unit} {number} of {path} has an impossible position or radius", remedy=ON_SKY
        )
    return WatchList.from_columns(
        ra_deg=columns.ra_deg,
        dec_deg=columns.dec_deg,
        radius_arcsec=columns.radius_arcsec,
        names=columns.names,
        object_ids=columns.object_ids,
    )


def _take(columns: _Columns, number: int, row: Mapping[str, str], radius_arcsec: float) -> None:
    if row.get("ra_deg") or row.get("dec_deg"):
        place = float(row.get("ra_deg", "")), float(row.get("dec_deg", ""))
        radius = float(row["radius_arcsec"]) if row.get("radius_arcsec") else radius_arcsec
        columns.numbers.append(number)
        columns.ra_deg.append(place[0])
        columns.dec_deg.append(place[1])
        columns.radius_arcsec.append(radius)
        columns.names.append(row.get("name") or row.get("object_id") or "")
    if row.get("object_id"):
        columns.object_ids.append(row["object_id"])
    elif not row.get("ra_deg") and any(row.values()):
        raise ValueError


def _places(header: Sequence[str]) -> dict[str, int]:
    known = [name.strip().casefold() for name in header]
    found: dict[str, int] = {}
    for name, spellings in COLUMNS.items():
        places = [known.index(spelling) for spelling in spellings if spelling in known]
        if places:
            found[name] = places[0]
    return found


def _read_csv(path: Path) -> tuple[list[str], Iterable[tuple[int, list[str]]]]:
    with path.open(newline="", encoding="utf-8-sig") as source:
        lines = csv.reader("\n" if line.startswith("#") else line for line in source)
        rows = [(lines.line_num, row) for row in lines if any(row)]
    return (rows[0][1], rows[1:]) if rows else ([], [])


def _read_votable(path: Path) -> tuple[list[str], Iterable[tuple[int, list[str]]]]:
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
        _in_unit(column, "arcsec" if name in COLUMNS["radius_arcsec"] else "deg")
        for name, column in zip(named, table.itercols(), strict=True)
    ]
    return named, enumerate(([*row] for row in zip(*columns, strict=True)), 1)


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
