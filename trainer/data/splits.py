# SPDX-License-Identifier: BSD-3-Clause
"""Splits by object: the same star under two names never lies on both sides of a split."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix  # type: ignore[import-untyped]
from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]
from scipy.spatial import cKDTree  # type: ignore[import-untyped]

from broker_plugin.surveys.sky import unit_vectors
from trainer.data.stars import StarTable

__all__ = [
    "SAME_OBJECT_ARCSEC",
    "Neighbourhood",
    "Split",
    "deal_groups",
    "object_groups",
    "sky_groups",
    "split_stars",
]

SAME_OBJECT_ARCSEC = 10.0
"""Stars nearer than this count as one object: 23 stars of the catalogue are listed twice, at times with two
labels. Catalina's pixels are 2.5 arcsec, so blends within a few of them share their light as well."""


class Split(IntEnum):
    """What a star is used for."""

    TRAIN = 0
    VALIDATION = 1
    CALIBRATION = 2
    TEST = 3


def sky_groups(
    ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64], *, radius_arcsec: float = SAME_OBJECT_ARCSEC
) -> NDArray[np.int64]:
    """Return a group number for each position; positions linked by steps within the radius share one.

    Examples
    --------
    >>> sky_groups(np.array([10.0, 10.001, 20.0]), np.array([0.0, 0.0, 0.0]))
    array([0, 0, 1])
    """
    unit = unit_vectors(ra_deg, dec_deg)
    pairs = cKDTree(unit).query_pairs(_chord(radius_arcsec), output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(unit), len(unit)))
    _, group = connected_components(links, directed=False)
    return np.asarray(group, np.int64)


def object_groups(ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return group numbers as `sky_groups` does; a position that is not known (NaN) is one of its own.

    Examples
    --------
    >>> object_groups(np.array([10.0, np.nan, 10.001, np.nan]), np.array([0.0, np.nan, 0.0, np.nan])).tolist()
    [0, 1, 0, 2]
    """
    placed = np.isfinite(ra_deg) & np.isfinite(dec_deg)
    group = np.zeros(len(ra_deg), np.int64)
    group[placed] = sky_groups(ra_deg[placed], dec_deg[placed])
    group[~placed] = group.max(initial=-1) + 1 + np.arange(int((~placed).sum()))
    return group


class Neighbourhood:
    """Positions (degrees), to be asked what lies within 10 arcsec of one of them; NaN is nowhere.

    Examples
    --------
    >>> Neighbourhood(np.array([10.0]), np.array([0.0])).holds(np.array([10.001, 20.0]), np.zeros(2)).tolist()
    [True, False]
    """

    def __init__(self, ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> None:
        placed = np.isfinite(ra_deg) & np.isfinite(dec_deg)
        self._tree = cKDTree(unit_vectors(ra_deg[placed], dec_deg[placed]))

    def holds(self, ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which of other positions, shape (N,), lie so near."""
        near = np.isfinite(ra_deg) & np.isfinite(dec_deg)
        distance, _ = self._tree.query(
            unit_vectors(ra_deg[near], dec_deg[near]), distance_upper_bound=_chord(SAME_OBJECT_ARCSEC)
        )
        near[near] = np.isfinite(distance)
        return near


def _chord(angle_arcsec: float) -> float:
    return float(2 * np.sin(np.deg2rad(angle_arcsec / 3600) / 2))


def split_stars(
    stars: StarTable, fractions: tuple[float, float, float, float], *, seed: int
) -> NDArray[np.int8]:
    """Return the `Split` code of each star, shape (S,).

    Groups are dealt out class by class, so that every split holds its share of the rare classes.
    """
    return deal_groups(sky_groups(stars.ra_deg, stars.dec_deg), stars.label, fractions, seed=seed)


def deal_groups(
    group: NDArray[np.int64],
    stratum: NDArray[Any],
    fractions: tuple[float, float, float, float],
    *,
    seed: int,
) -> NDArray[np.int8]:
    """Return the `Split` code of each object, shape (S,): one for all of a group.

    Groups are dealt out stratum by stratum (that of a group's first object), each in its own random order.

    Parameters
    ----------
    group
        Group numbers from 0 without gaps.
    """
    _, first = np.unique(group, return_index=True)
    group_label = stratum[first]
    rng = np.random.default_rng(seed)
    of_group = np.zeros(len(first), np.int8)
    edges = np.cumsum(fractions)[:-1]
    for label in np.unique(group_label):
        members = rng.permutation(np.flatnonzero(group_label == label))
        position = (np.arange(len(members)) + 0.5) / len(members)
        of_group[members] = np.searchsorted(edges, position)
    return of_group[group]
