# SPDX-License-Identifier: BSD-3-Clause
"""Upper limits: exposures in which the survey looked at an object's place and detected nothing.

They are no epochs: no encoder reads them, and a verdict does not depend on them. People do, since "not there
the night before" dates an outburst; so candidates carry them beside the light curve.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

__all__ = ["LIMIT_SIGMA", "UpperLimits"]

LIMIT_SIGMA = 5.0
"""Standard deviations at which surveys state the faintest flux that they would have detected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpperLimits:
    """Columns over exposures, in order of time; all of shape (L,).

    Parameters
    ----------
    mjd_tai
        Mid-exposure time, MJD, TAI.
    limit_njy
        Flux on the difference image of `LIMIT_SIGMA` standard deviations, nJy (AB): a larger change to either
        side of the reference would have been detected.
    band
        Code of the passband: position in `taxonomy.PASSBANDS`.
    """

    mjd_tai: NDArray[np.float64]
    limit_njy: NDArray[np.float32]
    band: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.mjd_tai)

    def take(self, rows: slice | NDArray[np.intp] | NDArray[np.bool_]) -> UpperLimits:
        """Return the limits at `rows`."""
        return UpperLimits(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})

    @classmethod
    def empty(cls) -> UpperLimits:
        """Return no limits.

        Examples
        --------
        >>> len(UpperLimits.empty())
        0
        """
        return cls(mjd_tai=np.empty(0), limit_njy=np.empty(0, np.float32), band=np.empty(0, np.int8))
