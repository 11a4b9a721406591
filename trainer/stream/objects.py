# SPDX-License-Identifier: BSD-3-Clause
"""One alert an object, and parts that share neither an object nor an exposure.

Alerts of one exposure have its seeing, its clouds and its faults in common, and those of one object its
light. Whatever lies on both sides of a split makes scores look more ordinary than they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix  # type: ignore[import-untyped]
from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

from broker_plugin.records import Alert
from trainer.data.splits import sky_groups
from trainer.stream.archive import Sighting

__all__ = ["away_from", "deal", "linked", "one_each"]

IntArray = NDArray[np.int64]


def linked(*labels: Sequence[str] | NDArray[np.generic]) -> IntArray:
    """Return group numbers (N,): rows that share any of the labels, directly or by way of others, share one.

    Examples
    --------
    >>> linked(["a", "b", "b", "c"], ["x", "x", "y", "z"])
    array([0, 0, 0, 1])
    """
    n = len(labels[0])
    rows, columns, start = [], [], n
    for each in labels:
        names, code = np.unique(np.asarray(each), return_inverse=True)
        rows.append(np.arange(n))
        columns.append(start + code.ravel())
        start += len(names)
    row, column = np.concatenate(rows), np.concatenate(columns)
    links = coo_matrix((np.ones(len(row)), (row, column)), shape=(start, start))
    _, group = connected_components(links, directed=False)
    _, numbered = np.unique(group[:n], return_inverse=True)
    return np.asarray(numbered.ravel(), np.int64)


def one_each(sightings: Sequence[Sighting], *, seed: int) -> tuple[list[Sighting], IntArray, IntArray]:
    """Return one alert of each object and survey in the archive's order, its object, and its group.

    An object is a name or a position within 10 arcsec. Which of its alerts stays follows from the seed and
    the alert's key alone, not from the order of the archive. Alerts of one object or one exposure, whatever
    joins them, have the same group.
    """
    alerts = [each.alert for each in sightings]
    thing = linked([alert.object_id for alert in alerts], _sky(alerts))
    order = sorted(range(len(alerts)), key=lambda row: _lot(alerts[row].alert_key, seed))
    chosen: dict[tuple[str, int], int] = {}
    for row in order:
        chosen.setdefault((alerts[row].survey, int(thing[row])), row)
    kept = np.array(sorted(chosen.values()), np.intp)
    group = linked(thing[kept], [sightings[row].exposure for row in kept])
    return [sightings[row] for row in kept], thing[kept], group


def away_from(
    sightings: Sequence[Sighting], ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]
) -> list[Sighting]:
    """Return the alerts farther than 10 arcsec from all positions, as of stars that trained the encoders."""
    alerts = [each.alert for each in sightings]
    ra = np.concatenate([ra_deg, [alert.ra_deg for alert in alerts]])
    dec = np.concatenate([dec_deg, [alert.dec_deg for alert in alerts]])
    group = sky_groups(ra, dec)
    near = np.isin(group[len(ra_deg) :], group[: len(ra_deg)])
    return [each for each, is_near in zip(sightings, near, strict=True) if not is_near]


def deal(group: IntArray, shares: Sequence[float], *, seed: int) -> IntArray:
    """Return the part of each row (N,), whole groups to one part, in about these shares of the rows.

    The groups come in an order that the seed draws; each goes to the part that lacks most of its share.

    Examples
    --------
    >>> part = deal(np.repeat(np.arange(100), 3), (0.5, 0.25, 0.25), seed=1)
    >>> np.bincount(part).tolist()
    [150, 75, 75]
    """
    _, group = np.unique(group, return_inverse=True)
    size = np.bincount(group)
    wanted = np.asarray(shares, np.float64) / np.sum(shares) * len(group)
    part_of_group = np.zeros(len(size), np.int64)
    for each in np.random.default_rng((seed, 21)).permutation(len(size)):
        part = int(np.argmax(wanted))
        part_of_group[each] = part
        wanted[part] -= size[each]
    return part_of_group[group]


def _sky(alerts: Sequence[Alert]) -> IntArray:
    return sky_groups(
        np.array([alert.ra_deg for alert in alerts], np.float64),
        np.array([alert.dec_deg for alert in alerts], np.float64),
    )


def _lot(alert_key: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{alert_key}".encode()).digest()
