# SPDX-License-Identifier: BSD-3-Clause
"""Light curves folded at each of their candidate periods.

A periodogram of one harmonic cannot tell a period from its half or from a daily alias; the folded light curve
can: at the right period it is a thin line. Each candidate is folded at twice its period, so that a binary
whose two eclipses differ shows them apart, and described by a Fourier series fitted to it, by its mean in
bins of phase, and by how much of the variance series of several kinds leave over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.arrays import plain
from broker_plugin.features.period import Periods
from broker_plugin.features.searched import Searched

__all__ = ["N_HARMONICS", "N_PHASES", "SERIES", "Folds", "fold"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

N_HARMONICS = 8
"""Harmonics of half the candidate frequency: four of the candidate itself."""

N_PHASES = 32
"""Bins of phase over two periods: an eclipse of a Catalina Algol lasts a few of them."""

SERIES: tuple[tuple[int, ...], ...] = (
    (1, 2, 3, 4, 5, 6, 7, 8),
    (2, 4, 6, 8),
    (2,),
    (4, 8),
)
"""Harmonics (of half the candidate frequency) in the series that are compared: twice the period, the period,
one sinusoid, half the period."""

HARMONICS = np.array([[*series, *[0] * (N_HARMONICS - len(series))] for series in SERIES])
"""The same as a table, 0 behind the last of each."""

ROUGHNESS = 2e-3
"""Prior weight against high harmonics, which grows as their square: without it a handful of epochs is fitted
by a curve that swings wildly between them."""

PRIOR_EPOCHS = 0.3
"""The prior on every harmonic, in epochs' worth of weight; it also keeps the normal equations regular."""

EMPTY_EPOCHS = 0.5
"""Weight, in epochs, with which the mean of a bin is drawn to zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folds:
    """Columns over the folds of all alerts (P,), ordered by alert and then by rank.

    Parameters
    ----------
    row
        Alert of each fold.
    rank
        Place of its peak in the periodogram; `N_CANDIDATES` for a period that a catalogue gave.
    frequency_per_day, power
        Of the candidate; power 0 if a catalogue gave it.
    n_epochs, span_day
        What was folded.
    cosine, sine
        Coefficients of the full series in units of the weighted scatter; shape (P, N_HARMONICS).
    left
        Share of the weighted variance that each of `SERIES` leaves; shape (P, len(SERIES)).
    curve, binned
        The fitted series, and the mean in bins, over two periods from the faintest point of the series, in
        units of the weighted scatter, fainter is larger; shape (P, N_PHASES).
    filled
        Share of the bins that hold an epoch.
    left_over
        What the best fold of its alert, the one that leaves least, leaves of the deviation of each searched
        epoch; shape (N,), 0 where nothing was folded.
    best
        That fold of each alert, as a position in these columns, -1 where there is none; shape (B,).
    """

    row: IntArray
    rank: IntArray
    frequency_per_day: FloatArray
    power: FloatArray
    n_epochs: IntArray
    span_day: FloatArray
    cosine: FloatArray
    sine: FloatArray
    left: FloatArray
    curve: FloatArray
    binned: FloatArray
    filled: FloatArray
    left_over: FloatArray
    best: IntArray


def fold(epochs: Searched, periods: Periods, given_per_day: FloatArray) -> Folds:
    """Fold the alerts of a batch at their candidates and at the frequencies that a catalogue gave.

    Parameters
    ----------
    epochs
        The epochs that were searched.
    given_per_day
        Frequency from a catalogue, 0 where there is none; shape (B,).
    """
    from broker_plugin.features.fold_kernels import fold_all  # compiles, and takes a second

    frequency = np.concatenate([periods.frequency_per_day, given_per_day[:, None]], axis=1)
    row, rank = np.nonzero(frequency > 0)
    power = np.concatenate([periods.power, np.zeros((len(frequency), 1))], axis=1)[row, rank]
    ends = np.searchsorted(epochs.row, np.arange(len(frequency) + 1))
    n = len(row)
    folds = Folds(
        row=row,
        rank=rank,
        frequency_per_day=frequency[row, rank],
        power=power,
        n_epochs=np.diff(ends)[row],
        span_day=np.zeros(n),
        cosine=np.zeros((n, N_HARMONICS)),
        sine=np.zeros((n, N_HARMONICS)),
        left=np.zeros((n, len(SERIES))),
        curve=np.zeros((n, N_PHASES)),
        binned=np.zeros((n, N_PHASES)),
        filled=np.zeros(n),
        left_over=np.zeros(len(epochs.row)),
        best=np.full(len(frequency), -1, np.int64),
    )
    fold_all(
        plain(row),
        folds.frequency_per_day,
        ends[:-1],
        ends[1:],
        plain(epochs.age_day),
        plain(epochs.deviation),
        plain(epochs.error),
        HARMONICS,
        ROUGHNESS,
        PRIOR_EPOCHS,
        EMPTY_EPOCHS,
        folds.cosine,
        folds.sine,
        folds.left,
        folds.curve,
        folds.binned,
        folds.filled,
        folds.span_day,
        folds.best,
        folds.left_over,
    )
    return folds
