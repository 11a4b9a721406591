# SPDX-License-Identifier: BSD-3-Clause
"""What a survey measured of an object, before it is decided which of it becomes the light curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

__all__ = ["EpochRows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRows:
    """Columns over the rows of one packet or several, all of shape (T,). NaN is "missing".

    Parameters
    ----------
    band
        Passband code, -1 where the band is unknown.
    exposure
        The survey's number of the exposure, the same in all its packets; with `detector` and `band`, the
        identity of an epoch, and with `origin`, that of a measurement.
    identifier
        The survey's number of the row, to break ties.
    separation_arcsec
        Distance from the alert's position; NaN counts as far.
    difference_njy, difference_err_njy
        Flux on the difference image.
    reference_njy, reference_err_njy
        Flux of the source on the reference image.
    reference_arcsec
        Distance of that source from the position measured.
    total_njy, total_err_njy
        Flux on the science image itself, where the survey measured it.
    trigger
        True for the alert's own row.
    """

    mjd_tai: NDArray[np.float64]
    band: NDArray[np.int8]
    origin: NDArray[np.int8]
    detector: NDArray[np.int32]
    access: NDArray[np.int8]
    exposure: NDArray[np.int64]
    identifier: NDArray[np.int64]
    separation_arcsec: NDArray[np.float64]
    difference_njy: NDArray[np.float64]
    difference_err_njy: NDArray[np.float64]
    reference_njy: NDArray[np.float64]
    reference_err_njy: NDArray[np.float64]
    reference_arcsec: NDArray[np.float64]
    total_njy: NDArray[np.float64]
    total_err_njy: NDArray[np.float64]
    withdrawn: NDArray[np.bool_]
    trigger: NDArray[np.bool_]

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> EpochRows:
        """Return the rows at `rows`."""
        return EpochRows(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})

    def __len__(self) -> int:
        return len(self.mjd_tai)

    @classmethod
    def concatenate(cls, parts: Sequence[EpochRows]) -> EpochRows:
        """Return the rows of several packets behind one another."""
        return cls(
            **{
                column.name: np.concatenate([getattr(part, column.name) for part in parts])
                for column in fields(cls)
            }
        )
