# SPDX-License-Identifier: BSD-3-Clause
"""Watch lists: objects by name and cones on the sky, some or millions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from broker_plugin.errors import ConfigurationError
from broker_plugin.object_names import object_name
from broker_plugin.surveys.sky import unit_vectors

__all__ = ["ON_SKY", "Cone", "WatchList", "is_possible", "labels"]

RADIUS_MAX_ARCSEC = 180.0 * 3600.0
"""The whole sky."""

ON_SKY = (
    "give right ascensions from 0 to 360 and declinations from -90 to 90 degrees, and a radius above 0 arcsec"
)

MARGIN_DEG = 1e-9
"""Added to a band of declination, so that rounding loses no row at its edge; it costs some rows too many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cone:
    """A circle on the sky.

    Parameters
    ----------
    ra_deg, dec_deg
        Its centre, ICRS.
    name
        What a match is called; by default the centre.
    """

    ra_deg: float
    dec_deg: float
    radius_arcsec: float
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Cone:
        """Return the cone of `RA,DEC,ARCSEC`.

        Raises
        ------
        ConfigurationError
            If it is none.

        Examples
        --------
        >>> Cone.parse("150.1, 2.2, 5").radius_arcsec
        5.0
        """
        try:
            ra_deg, dec_deg, radius_arcsec = map(float, text.split(","))
        except ValueError:
            raise ConfigurationError(
                f"{text!r} is no cone", remedy="write RA,DEC,RADIUS in degrees, degrees and arcsec"
            ) from None
        return cls(ra_deg=ra_deg, dec_deg=dec_deg, radius_arcsec=radius_arcsec)


def is_possible(ra_deg: ArrayLike, dec_deg: ArrayLike, radius_arcsec: ArrayLike) -> NDArray[np.bool_]:
    """Tell of cones whether they are on the sky.

    Examples
    --------
    >>> is_possible([10.0, 400.0, 10.0], [5.0, 5.0, 5.0], [1.0, 1.0, 0.0])
    array([ True, False, False])
    """
    ra, dec, radius = np.asarray(ra_deg), np.asarray(dec_deg), np.asarray(radius_arcsec)
    on_sky = (ra >= 0.0) & (ra <= 360.0) & (np.abs(dec) <= 90.0)  # what is not a number is neither
    return np.asarray(on_sky & (radius > 0.0) & (radius <= RADIUS_MAX_ARCSEC))


class WatchList:
    """Objects and places that somebody watches; asks of each verdict whether it is one of them.

    Cones are kept as columns, 64 bytes each, those of like radius together and sorted by declination: a
    look-up among a million of some arcsec looks at some twenty.

    Parameters
    ----------
    cones
        Circles on the sky.
    object_ids
        Objects as verdicts name them (`ztf:ZTF18abcdefg`), or without the survey's prefix; where they are a
        mapping, to what a match is called.

    Raises
    ------
    ConfigurationError
        If a cone is none, or no object can have a name; the message says which.

    Examples
    --------
    >>> mine = WatchList([Cone(ra_deg=10.0, dec_deg=-5.0, radius_arcsec=3.0, name="M-1")], ["ZTF18abcdefg"])
    >>> mine.matches("ztf:ZTF18abcdefg", 200.0, 30.0)
    ['ZTF18abcdefg']
    >>> mine.matches("lsst:7", 10.0, -5.0 + 2 / 3600)
    ['M-1']
    >>> mine.matches("lsst:7", 10.0, -5.0 + 4 / 3600)
    []
    """

    def __init__(
        self, cones: Iterable[Cone] = (), object_ids: Iterable[str] | Mapping[str, str] = ()
    ) -> None:
        rows = list(cones)
        self._take(
            [cone.ra_deg for cone in rows],
            [cone.dec_deg for cone in rows],
            [cone.radius_arcsec for cone in rows],
            [cone.name for cone in rows],
            object_ids,
        )

    @classmethod
    def from_columns(
        cls,
        *,
        ra_deg: ArrayLike = (),
        dec_deg: ArrayLike = (),
        radius_arcsec: ArrayLike = (),
        names: Sequence[str] | None = None,
        object_ids: Iterable[str] | Mapping[str, str] = (),
    ) -> WatchList:
        """Make a list of columns of equal length, quicker than from as many cones."""
        made = cls.__new__(cls)
        made._take(ra_deg, dec_deg, radius_arcsec, names, object_ids)
        return made

    def matches(self, object_id: str, ra_deg: float, dec_deg: float) -> list[str]:
        """Return the names of what an object or its position matches; none if it is not watched."""
        bare = object_id.partition(":")[2]
        found = [self._object_ids[name] for name in (object_id, bare) if name in self._object_ids][:1]
        place = unit_vectors(np.array([ra_deg]), np.array([dec_deg]))[0]
        for zone in self._zones:
            found += [self._name(row) for row in zone.near(place, dec_deg).tolist()]
        return list(dict.fromkeys(found))

    def __len__(self) -> int:
        return len(self._object_ids) + len(self._ra_deg)

    def __or__(self, other: WatchList) -> WatchList:
        return WatchList.from_columns(
            ra_deg=np.concatenate([self._ra_deg, other._ra_deg]),
            dec_deg=np.concatenate([self._dec_deg, other._dec_deg]),
            radius_arcsec=np.concatenate([self._radius_arcsec, other._radius_arcsec]),
            names=[each._name(row) for each in (self, other) for row in range(len(each._ra_deg))],
            object_ids=self._object_ids | other._object_ids,
        )

    def _take(
        self,
        ra_deg: ArrayLike,
        dec_deg: ArrayLike,
        radius_arcsec: ArrayLike,
        names: Sequence[str] | None,
        object_ids: Iterable[str] | Mapping[str, str],
    ) -> None:
        self._ra_deg = np.asarray(ra_deg, np.float64)  # (N,)
        self._dec_deg = np.asarray(dec_deg, np.float64)
        self._radius_arcsec = np.asarray(radius_arcsec, np.float64)
        self._names = names
        called = object_ids if isinstance(object_ids, Mapping) else {}
        named = {name: object_name(name) for name in object_ids}
        self._object_ids = {name: called.get(given) or name for given, name in named.items()}
        self._refuse_odd_cones()
        vectors = unit_vectors(self._ra_deg, self._dec_deg)
        octaves = np.frexp(self._radius_arcsec)[1]
        self._zones = [
            _Zone(np.flatnonzero(octaves == octave), vectors, self._dec_deg, self._radius_arcsec)
            for octave in np.unique(octaves)
        ]

    def _refuse_odd_cones(self) -> None:
        possible = is_possible(self._ra_deg, self._dec_deg, self._radius_arcsec)
        if not possible.all():
            row = int(np.argmin(possible))
            raise ConfigurationError(
                f"cone {row + 1} ({self._name(row)}) has an impossible position or radius",
                remedy=ON_SKY,
            )

    def _name(self, row: int) -> str:
        name = self._names[row] if self._names is not None else ""
        return name or f"{self._ra_deg[row]:.6f},{self._dec_deg[row]:+.6f}"


def labels(object_id: str, watched: Iterable[str]) -> list[str]:
    """Return those names of what an object matches that are not its own.

    Examples
    --------
    >>> labels("ztf:ZTF18abcdefg", ["ZTF18abcdefg", "my nova"])
    ['my nova']
    """
    return [name for name in watched if name not in (object_id, object_id.partition(":")[2])]


class _Zone:
    """Cones whose radii differ by less than a factor of two, sorted by declination."""

    def __init__(
        self,
        rows: NDArray[np.intp],
        vectors: NDArray[np.float64],
        dec_deg: NDArray[np.float64],
        radius_arcsec: NDArray[np.float64],
    ) -> None:
        self._rows = rows[np.argsort(dec_deg[rows], kind="stable")]
        self._dec_deg = dec_deg[self._rows]
        self._vectors = vectors[self._rows]  # (n, 3)
        radius_deg = radius_arcsec[self._rows] / 3600.0
        self._reach_deg = float(radius_deg.max()) + MARGIN_DEG
        self._chord_squared = (2.0 * np.sin(np.radians(radius_deg) / 2.0)) ** 2

    def near(self, place: NDArray[np.float64], dec_deg: float) -> NDArray[np.intp]:
        """Return the rows of those cones in which a place lies."""
        first, last = np.searchsorted(
            self._dec_deg, [dec_deg - self._reach_deg, dec_deg + self._reach_deg], side="left"
        )
        apart = ((self._vectors[first:last] - place) ** 2).sum(axis=1)
        rows: NDArray[np.intp] = self._rows[first:last][apart <= self._chord_squared[first:last]]
        return rows
