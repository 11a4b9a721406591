# SPDX-License-Identifier: BSD-3-Clause
"""The epochs of light curves that are searched for periods and folded, in units of each band's scatter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import local
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from broker_plugin.arrays import plain
from broker_plugin.features.brightness import FLUX_FLOOR_NJY, MAD_TO_SIGMA
from broker_plugin.features.lomb_scargle import Curves
from broker_plugin.features.transforms import Waves
from broker_plugin.records import AlertBatch

__all__ = ["WINDOW_DAY", "Searched", "searched_epochs"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

WINDOW_DAY = 3000.0
"""Only epochs this long before the alert are searched: with the highest frequency and the sampling of the
grid it bounds a periodogram at 180,000 frequencies (10 ms) whatever times a packet may hold."""

MIN_SEARCHED_EPOCHS = 5
"""From here on a periodogram says something: not which period, but which are excluded. It is the cheap test
of whether an alert is searched at all; anything else that could tell, such as whether the star varies, costs
as much as the search of the month that most alerts bring."""

MIN_BAND_EPOCHS = 3
"""A band with fewer epochs has no scatter of its own to be measured in, so it is not searched."""

ERROR_FLOOR = 0.1
"""Least error, in units of a band's scatter: a few epochs with tiny errors would else carry all weight."""

CLIP = 20.0
"""Largest deviation that counts, in units of a band's scatter, so that one wild epoch is not a period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """The epochs that are searched and folded: columns over them (N,), alert by alert.

    Parameters
    ----------
    row
        Which alert each belongs to.
    age_day
        Days before the alert.
    deviation, error
        Deviation from the band's median, fainter is larger, and its error, in units of the band's scatter.
    waves
        What searches found out about these times and errors; other deviations have it in common.
    """

    row: IntArray
    age_day: FloatArray
    deviation: FloatArray
    error: FloatArray
    waves: Waves = field(default_factory=Waves)

    def parts(self) -> tuple[IntArray, IntArray, IntArray]:
        """Return the alerts that have epochs, and where those of each begin and end."""
        starts = np.flatnonzero(np.diff(self.row, prepend=-1))
        return self.row[starts], starts, np.append(starts[1:], len(self.row)).astype(np.int64)

    def curves(self, starts: IntArray, stops: IntArray) -> Curves:
        """Return what is searched for periods, of the alerts whose epochs lie there."""
        return Curves(
            starts=starts,
            stops=stops,
            age_day=self.age_day,
            deviation=self.deviation,
            error=self.error,
            waves=self.waves,
        )


class _Last(local):
    """The batch whose epochs a thread asked for last, and these."""

    def __init__(self) -> None:
        self.batch: Callable[[], AlertBatch | None] = lambda: None
        self.epochs: Searched


LAST = _Last()


def searched_epochs(batch: AlertBatch) -> Searched:
    """Return the epochs of all alerts that have enough of them to be searched.

    Those of the last batch are kept: they are searched first, and folded then.
    """
    if LAST.batch() is not batch:
        LAST.epochs, LAST.batch = _standardised(batch), ref(batch)
    return LAST.epochs


def _standardised(batch: AlertBatch) -> Searched:
    from broker_plugin.features.epoch_kernels import standardise  # compiles, and takes a second

    n = len(batch.epochs)
    row, (age_day, deviation, error) = np.empty(n, np.int64), np.empty((3, n))
    epochs = batch.epochs
    n_kept = standardise(
        plain(batch.offsets),
        plain(batch.mjd_tai),
        plain(epochs.mjd_tai),
        plain(epochs.flux_njy),
        plain(epochs.flux_err_njy),
        plain(epochs.band),
        plain(epochs.apparent),
        FLUX_FLOOR_NJY,
        MAD_TO_SIGMA,
        WINDOW_DAY,
        MIN_SEARCHED_EPOCHS,
        MIN_BAND_EPOCHS,
        ERROR_FLOOR,
        CLIP,
        row,
        age_day,
        deviation,
        error,
    )
    return Searched(
        row=row[:n_kept], age_day=age_day[:n_kept], deviation=deviation[:n_kept], error=error[:n_kept]
    )
