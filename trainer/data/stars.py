# SPDX-License-Identifier: BSD-3-Clause
"""Labelled light curves as columns: what every reader of a training set gives."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["N_PHASES", "StarTable", "folded_profile", "read_stars", "write_stars"]

FloatArray = NDArray[np.float64]

N_PHASES = 64
"""Phases of a folded profile: an eclipse of a hundredth of the period is lost, as it is at these cadences."""

NARROW, WIDE = 0.02, 0.08
"""Widths (in cycles) of the two kernels of a folded profile. Narrower, and noise becomes structure; the wide
one carries the profile over phases that nobody observed."""

WIDE_WEIGHT = 0.02
"""Weight of the wide kernel; it matters only where the narrow one finds next to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StarTable:
    """Stars as columns (S,), their epochs as ragged columns (N,) with offsets (S + 1,).

    Parameters
    ----------
    label
        Position of the class among those of the run.
    mean_mag
        Median magnitude in V.
    flux_njy, flux_err_njy
        Apparent flux.
    profile
        Fractional deviation from the median flux at `N_PHASES` phases from 0; shape (S, N_PHASES).
    """

    star_id: NDArray[np.str_]
    label: NDArray[np.int64]
    ra_deg: FloatArray
    dec_deg: FloatArray
    gal_lon_deg: FloatArray
    gal_lat_deg: FloatArray
    period_day: FloatArray
    mean_mag: FloatArray
    mjd: FloatArray
    flux_njy: NDArray[np.float32]
    flux_err_njy: NDArray[np.float32]
    offsets: NDArray[np.int64]
    profile: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: NDArray[np.int64]) -> StarTable:
        """Return some of the stars."""
        kept = [np.arange(self.offsets[row], self.offsets[row + 1]) for row in rows]
        epochs = np.concatenate(kept) if kept else np.zeros(0, np.int64)
        columns = {column.name: getattr(self, column.name) for column in fields(self)}
        ragged = {name: columns[name][epochs] for name in ("mjd", "flux_njy", "flux_err_njy")}
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in kept])]).astype(np.int64)
        whole = {name: values[rows] for name, values in columns.items() if name not in (*ragged, "offsets")}
        return StarTable(**whole, **ragged, offsets=offsets)

    def galactic(self, star: int) -> dict[str, float]:
        """Return a star's galactic coordinates as metadata, none where its position is not known."""
        found = {
            "gal_lon_deg": float(self.gal_lon_deg[star]),
            "gal_lat_deg": float(self.gal_lat_deg[star]),
        }
        return found if all(map(math.isfinite, found.values())) else {}

    def epochs(self, star: int) -> slice:
        """Return the rows of a star's epochs."""
        return slice(int(self.offsets[star]), int(self.offsets[star + 1]))


def folded_profile(mjd: FloatArray, relative: FloatArray, error: FloatArray, period_day: float) -> FloatArray:
    """Return the mean light curve over one period at `N_PHASES` phases.

    Parameters
    ----------
    relative, error
        Fractional deviation from the median flux, and its error.
    """
    phase = mjd / period_day
    phase -= np.floor(phase)
    distance = np.abs(np.arange(N_PHASES)[:, None] / N_PHASES - phase)
    distance = np.minimum(distance, 1 - distance)
    kernel = np.exp(-0.5 * (distance / NARROW) ** 2) + WIDE_WEIGHT * np.exp(-0.5 * (distance / WIDE) ** 2)
    weight = kernel / error**2
    total = weight.sum(axis=1)
    profile: FloatArray = np.divide(weight @ relative, total, out=np.zeros(N_PHASES), where=total > 0)
    return profile


def write_stars(stars: StarTable, path: Path) -> None:
    """Write a table to an `.npz` file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez(
            file, allow_pickle=False, **{column.name: getattr(stars, column.name) for column in fields(stars)}
        )


def read_stars(path: Path) -> StarTable:
    """Read a table that `write_stars` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        return StarTable(**{column.name: archive[column.name] for column in fields(StarTable)})
