# SPDX-License-Identifier: BSD-3-Clause
"""Which source's row is which object, by position on the sky with proper motion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.time import Time
from numpy.typing import NDArray
from scipy.spatial import cKDTree  # type: ignore[import-untyped]

from broker_plugin.surveys import sky

__all__ = ["Matches", "Places", "match_places", "moved", "pairs_within", "separation_arcsec"]

FloatArray = NDArray[np.float64]

DISTANCE_PC = 100.0
"""Assumed distance, for want of parallaxes: at rest along the line of sight it changes nothing at first
order, and no proper motion on the sky is then faster than light."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Positions (N,) with their epochs; a proper motion that is not known is NaN."""

    ra_deg: FloatArray
    dec_deg: FloatArray
    epoch_jyear: FloatArray
    pm_ra_cosdec_mas_yr: FloatArray
    pm_dec_mas_yr: FloatArray

    def __len__(self) -> int:
        return len(self.ra_deg)

    @property
    def moving(self) -> NDArray[np.bool_]:
        """Return where the proper motion is known."""
        return np.isfinite(self.pm_ra_cosdec_mas_yr) & np.isfinite(self.pm_dec_mas_yr)

    def take(self, rows: NDArray[np.intp]) -> Places:
        """Return the places at `rows`."""
        return Places(
            ra_deg=self.ra_deg[rows],
            dec_deg=self.dec_deg[rows],
            epoch_jyear=self.epoch_jyear[rows],
            pm_ra_cosdec_mas_yr=self.pm_ra_cosdec_mas_yr[rows],
            pm_dec_mas_yr=self.pm_dec_mas_yr[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """The object of each part (P,), -1 where there is none, and what had to be decided.

    Parameters
    ----------
    separation_arcsec
        Between a part and its object at a common epoch; NaN where there is none.
    candidates
        Objects within the radius of each part.
    """

    object_of: NDArray[np.int64]
    separation_arcsec: FloatArray
    candidates: NDArray[np.int64]


def match_places(objects: Places, parts: Places, *, radius_arcsec: float) -> Matches:
    """Give each part the nearest object within the radius, both brought to the part's epoch.

    An object whose proper motion is known moves to the part's epoch; if only the part's is known, the part
    moves to the object's. Cost: N log N, and a little for every pair that motion could bring together.

    Examples
    --------
    >>> there = Places(ra_deg=np.array([10.0]), dec_deg=np.array([0.0]), epoch_jyear=np.array([2000.0]),
    ...     pm_ra_cosdec_mas_yr=np.array([1000.0]), pm_dec_mas_yr=np.array([0.0]))
    >>> later = replace(there, ra_deg=np.array([10.0 + 15 / 3600]), epoch_jyear=np.array([2015.0]),
    ...     pm_ra_cosdec_mas_yr=np.array([np.nan]))
    >>> match_places(there, later, radius_arcsec=1.0).object_of
    array([0])
    """
    n = len(parts)
    object_of, best = np.full(n, -1, np.int64), np.full(n, np.nan)
    candidates = np.zeros(n, np.int64)
    if not len(objects) or not n:
        return Matches(object_of=object_of, separation_arcsec=best, candidates=candidates)
    one, other = _pairs(objects, parts, radius_arcsec)
    separation = _at_common_epoch(objects.take(one), parts.take(other))
    near = separation <= radius_arcsec
    one, other, separation = one[near], other[near], separation[near]
    np.add.at(candidates, other, 1)
    order = np.lexsort((one, separation, other))
    one, other, separation = one[order], other[order], separation[order]
    first = np.diff(other, prepend=-1) != 0
    object_of[other[first]], best[other[first]] = one[first], separation[first]
    return Matches(object_of=object_of, separation_arcsec=best, candidates=candidates)


def moved(places: Places, epoch_jyear: FloatArray) -> Places:
    """Return the places at other epochs; what has no known proper motion stays."""
    ra, dec = places.ra_deg.copy(), places.dec_deg.copy()
    rows = np.flatnonzero(places.moving & (places.epoch_jyear != epoch_jyear))
    if len(rows):
        there = SkyCoord(
            ra=ra[rows] * u.deg,
            dec=dec[rows] * u.deg,
            distance=np.full(len(rows), DISTANCE_PC) * u.pc,
            pm_ra_cosdec=places.pm_ra_cosdec_mas_yr[rows] * u.mas / u.yr,
            pm_dec=places.pm_dec_mas_yr[rows] * u.mas / u.yr,
            radial_velocity=np.zeros(len(rows)) * u.km / u.s,
            obstime=Time(places.epoch_jyear[rows], format="jyear", scale="tdb"),
        ).apply_space_motion(new_obstime=Time(epoch_jyear[rows], format="jyear", scale="tdb"))
        ra[rows], dec[rows] = there.ra.deg, there.dec.deg
    return replace(
        places, ra_deg=ra, dec_deg=dec, epoch_jyear=np.where(places.moving, epoch_jyear, places.epoch_jyear)
    )


def pairs_within(places: Places, radius_arcsec: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pairs of places within a radius of each other, each pair once."""
    if not len(places):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    pairs = cKDTree(_unit(places)).query_pairs(_chord(np.array(radius_arcsec)), output_type="ndarray")
    pairs = np.unique(pairs, axis=0)
    return pairs[:, 0], pairs[:, 1]


def separation_arcsec(one: Places, other: Places) -> FloatArray:
    """Return the angle between places, pair by pair; exact for small angles too."""
    return sky.separation_arcsec(one.ra_deg, one.dec_deg, centre=(other.ra_deg, other.dec_deg))


def _at_common_epoch(objects: Places, parts: Places) -> FloatArray:
    only_part = parts.moving & ~objects.moving
    parts_then = moved(parts, np.where(only_part, objects.epoch_jyear, parts.epoch_jyear))
    return separation_arcsec(moved(objects, parts.epoch_jyear), parts_then)


def _pairs(objects: Places, parts: Places, radius_arcsec: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return all pairs that could lie within the radius of each other at some common epoch."""
    epochs = np.concatenate([objects.epoch_jyear, parts.epoch_jyear])
    span = float(epochs.max() - epochs.min())
    reach = [
        radius_arcsec + span / 1000 * np.nan_to_num(np.hypot(each.pm_ra_cosdec_mas_yr, each.pm_dec_mas_yr))
        for each in (objects, parts)
    ]
    tree_objects, tree_parts = cKDTree(_unit(objects)), cKDTree(_unit(parts))
    found = [
        *_within(tree_parts, _unit(objects), reach[0], flipped=False),
        *_within(tree_objects, _unit(parts), reach[1], flipped=True),
    ]
    pairs = np.unique(np.array(found, np.intp).reshape(-1, 2), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _within(
    tree: cKDTree, points: FloatArray, reach_arcsec: FloatArray, *, flipped: bool
) -> list[tuple[int, int]]:
    found = tree.query_ball_point(points, _chord(reach_arcsec) * (1 + 1e-9))
    pairs = [(here, there) for here, neighbours in enumerate(found) for there in neighbours]
    return [(b, a) for a, b in pairs] if flipped else pairs


def _chord(angle_arcsec: FloatArray) -> FloatArray:
    return np.asarray(2 * np.sin(np.minimum(np.deg2rad(angle_arcsec / 3600), np.pi) / 2), np.float64)


def _unit(places: Places) -> FloatArray:
    return sky.unit_vectors(places.ra_deg, places.dec_deg)
