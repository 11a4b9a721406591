# SPDX-License-Identifier: BSD-3-Clause
"""Stars that something was made from, known again in any file: by their names, or by their places."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainer.data.splits import Neighbourhood, Split, split_stars
from trainer.data.stars import StarTable

__all__ = ["NO_STARS", "UsedStars", "used_stars"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class UsedStars:
    """Stars by name and place, as columns (S,).

    Parameters
    ----------
    ra_deg, dec_deg
        NaN where the place is not known.
    """

    name: NDArray[np.str_]
    ra_deg: FloatArray
    dec_deg: FloatArray

    @classmethod
    def of_table(cls, table: pa.Table, *, ra: str, dec: str) -> Self:
        """Return the stars of a table with the column `object_id` and those of positions."""
        return cls(
            name=np.array(table["object_id"].to_pylist(), np.str_),
            ra_deg=_numbers(table[ra]),
            dec_deg=_numbers(table[dec]),
        )

    @cached_property
    def names(self) -> frozenset[str]:
        """The names."""
        return frozenset(self.name.tolist())

    @cached_property
    def _places(self) -> Neighbourhood:
        return Neighbourhood(self.ra_deg, self.dec_deg)

    def holds(self, name: NDArray[np.str_], ra_deg: FloatArray, dec_deg: FloatArray) -> NDArray[np.bool_]:
        """Return which of other stars, shape (N,), are among these: of one name, or within 10 arcsec.

        Examples
        --------
        >>> used = UsedStars(name=np.array(["css:1"]), ra_deg=np.array([10.0]), dec_deg=np.array([0.0]))
        >>> used.holds(np.array(["a", "css:1", "b"]), np.array([10.001, np.nan, 20.0]), np.zeros(3)).tolist()
        [True, True, False]
        """
        named = np.array([each in self.names for each in name.tolist()], np.bool_)
        return named | self._places.holds(ra_deg, dec_deg)

    def __or__(self, other: UsedStars) -> UsedStars:
        return UsedStars(
            name=np.concatenate([self.name, other.name]),
            ra_deg=np.concatenate([self.ra_deg, other.ra_deg]),
            dec_deg=np.concatenate([self.dec_deg, other.dec_deg]),
        )


NO_STARS = UsedStars(name=np.zeros(0, np.str_), ra_deg=np.zeros(0), dec_deg=np.zeros(0))
"""What something was made from that knows of no star, or where nothing is to be left out."""


def used_stars(stars: StarTable, fractions: tuple[float, float, float, float], *, seed: int) -> UsedStars:
    """Return all stars but those of the test split of `split_stars`."""
    used = split_stars(stars, fractions, seed=seed) != Split.TEST
    return UsedStars(name=stars.star_id[used], ra_deg=stars.ra_deg[used], dec_deg=stars.dec_deg[used])


def _numbers(column: pa.ChunkedArray) -> FloatArray:
    return np.array([np.nan if each is None else each for each in column.to_pylist()], np.float64)
