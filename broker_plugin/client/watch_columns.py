# SPDX-License-Identifier: BSD-3-Clause
"""Columns of a watch list: what they may be called, and the units of their angles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from broker_plugin.errors import ConfigurationError

__all__ = ["COLUMNS", "Spelling", "angle", "choose_columns", "folded", "unit_of"]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "object_id": ("object_id", "objectid", "object", "oid", "diaobjectid"),
    "ra_deg": (
        *("ra_deg", "ra", "raj2000", "ra_icrs", "_ra", "_raj2000", "_ra.icrs"),
        *("ra_h", "ra_hour", "ra_hours", "ra_hms"),
    ),
    "dec_deg": (
        *("dec_deg", "dec", "dej2000", "decj2000", "de_icrs", "dec_icrs", "_de", "_dej2000", "_de.icrs"),
        "dec_dms",
    ),
    "radius_arcsec": (
        *("radius_arcsec", "radius", "arcsec", "radius_as"),
        *("radius_arcmin", "radius_am", "arcmin", "radius_deg", "radius_degree", "radius_degrees"),
    ),
    "name": ("name", "target", "label", "main_id"),
}
"""What a column may be called, in any case; brackets are as good as an underscore."""

UNITS: Mapping[str, tuple[str, float]] = {
    **dict.fromkeys(COLUMNS["radius_arcsec"], ("arcsec", 1.0)),
    **dict.fromkeys(("radius_arcmin", "radius_am", "arcmin"), ("arcmin", 60.0)),
    **dict.fromkeys(("radius_deg", "radius_degree", "radius_degrees"), ("deg", 3600.0)),
    **dict.fromkeys(("ra_h", "ra_hour", "ra_hours"), ("hourangle", 15.0)),
}
"""Units of columns that are not in degrees, and what of ours is one of them."""

RADIUS = re.compile(r"((search|cone|match)_?)?radius.*")
"""What looks as if it were meant as a radius."""

BRACKETS = re.compile(r"[\s\[\]()]+")

SEXAGESIMAL = re.compile(
    r"(?P<sign>[+-]?)(?P<first>\d{1,3})\s*(?P<unit>[:hd\N{DEGREE SIGN}\s])\s*"
    r"(?P<minutes>\d{1,2}(\.\d*)?)(\s*[:m'\N{PRIME}\s]\s*(?P<seconds>\d{1,2}(\.\d*)?)?)?\s*"
    r"[s\"\N{DOUBLE PRIME}]?"
)

Spelling = tuple[int, str]
"""The place of a column, and what it is called."""


def folded(name: str) -> str:
    """Return a column's name as `COLUMNS` has it.

    Examples
    --------
    >>> folded("Radius [arcmin]"), folded("_RAJ2000")
    ('radius_arcmin', '_raj2000')
    """
    return BRACKETS.sub("_", name.strip().casefold()).rstrip("_")


def unit_of(name: str) -> tuple[str, float]:
    """Return the unit of a column's numbers, and what of ours (degrees, arcsec of a radius) is one."""
    return UNITS.get(name, ("deg", 1.0))


def choose_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Spelling]:
    """Return the columns that are used. Where a position has several, one that is in numbers.

    Raises
    ------
    ConfigurationError
        If there is a radius in a unit that is not understood, and none that is.

    Examples
    --------
    >>> choose_columns(["RAJ2000", "_RAJ2000"], [["00 42 44.3", "10.68"]])
    {'ra_deg': (1, '_raj2000')}
    """
    known = [folded(name) for name in header]
    found: dict[str, Spelling] = {}
    for name, spellings in COLUMNS.items():
        places = [(n, each) for each in spellings for n, given in enumerate(known) if given == each]
        if places:
            of_numbers = (each for each in places if len(places) > 1 and _is_numeric(rows, each[0]))
            found[name] = next(of_numbers, places[0])
    odd = [name for name, each in zip(header, known, strict=True) if RADIUS.fullmatch(each)]
    if odd and "radius_arcsec" not in found:
        raise ConfigurationError(
            f"column {odd[0]!r} is no radius that is known",
            remedy="call it radius_arcsec, radius_arcmin or radius_deg, or something else",
        )
    return found


def angle(text: str, name: str) -> float:
    """Return the angle of a column's text, in degrees, or in arcsec for a radius.

    Sexagesimal is taken too: hours for a right ascension, unless it says `d`.

    Raises
    ------
    ConfigurationError
        If it is none.

    Examples
    --------
    >>> angle("10.5", "ra"), angle("0.7", "ra_hours"), angle("00:42:00", "ra"), angle("-05 15", "dec")
    (10.5, 10.5, 10.5, -5.25)
    """
    try:
        return float(text) * unit_of(name)[1]
    except ValueError:
        parts = SEXAGESIMAL.fullmatch(text.strip().casefold().replace("\N{MINUS SIGN}", "-"))
    wanted = f"{text!r} in column {name!r} is no angle"
    if parts is None or name in COLUMNS["radius_arcsec"]:
        raise ConfigurationError(wanted, remedy="write decimal degrees, such as 10.6847")
    minutes, seconds = float(parts["minutes"]), float(parts["seconds"] or 0.0)
    if minutes >= 60.0 or seconds >= 60.0:
        raise ConfigurationError(wanted, remedy="minutes and seconds end at 60")
    size = float(parts["first"]) + minutes / 60.0 + seconds / 3600.0
    in_hours = name in COLUMNS["ra_deg"] and parts["unit"] not in "d\N{DEGREE SIGN}"
    return (-size if parts["sign"] == "-" else size) * (15.0 if in_hours else 1.0)


def _is_numeric(rows: Iterable[Sequence[str]], place: int) -> bool:
    texts = [row[place] for row in rows if place < len(row) and row[place].strip()]
    try:
        return bool([float(text) for text in texts])
    except ValueError:
        return False
