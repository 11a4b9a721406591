# SPDX-License-Identifier: BSD-3-Clause
"""Period search over the light curves of a batch.

A Lomb-Scargle periodogram of one harmonic and a free mean, over all bands together: each band is brought to
its own median and scatter first. One harmonic finds the period of a star, or half of it; several of its peaks
are kept as candidates, so that the encoders can judge by the folded light curves which of them it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.lomb_scargle import Grid, strongest_peaks
from broker_plugin.features.searched import searched_epochs
from broker_plugin.records import METADATA_COLUMNS, AlertBatch

__all__ = [
    "CATALOGUE_PERIOD",
    "GRID",
    "MIN_EPOCHS",
    "N_ALIASES",
    "N_CANDIDATES",
    "N_SPECTRUM_BINS",
    "Periods",
    "catalogue_periods",
    "find_periods",
    "without_catalogue_period",
]

CATALOGUE_PERIOD = "catalogue_period_day"
"""The column of metadata that holds the period of a catalogue."""

CATALOGUE_COLUMN = METADATA_COLUMNS.index(CATALOGUE_PERIOD)

LEAST_PERIOD_DAY = 1e-4
"""A shorter period is no star's: it is nine seconds, and the fastest binaries take five minutes."""

N_CANDIDATES = 6
"""Peaks that are kept. Of Catalina's variables 98 % have the catalogue's period or a simple multiple of it
among six, 97 % among three; at their first 100 epochs it is 89 %, and every further peak costs a token."""

N_ALIASES = 2
"""Further peaks that a verdict names."""

MIN_EPOCHS = 12
"""With fewer epochs no period is claimed: a sinusoid with a mean and thousands of trial frequencies passes
through any handful of points."""

MIN_NIGHTS = 5
"""Fewer nights than this cannot tell a period from its daily aliases, so none is claimed."""

MAX_FREQUENCY_PER_DAY = 20.0
"""Highest trial frequency: high-amplitude delta Scuti stars reach it, and doubling it doubles the cost."""

SAMPLES_PER_PEAK = 3
"""Trial frequencies in one resolution element (1 / span). With two a peak can lose a fifth of its height
between them; five cost two thirds more. A parabola through its neighbours then refines each peak."""

MIN_FREQUENCIES = 8
"""Fewest trial frequencies, for the light curve of a single night."""

N_SPECTRUM_BINS = 40
"""Bins of equal width in the logarithm of the frequency, 8 % to 28 % wide: coarse enough to be learned."""

SPECTRUM_EDGES = np.logspace(-3.0, math.log10(MAX_FREQUENCY_PER_DAY), N_SPECTRUM_BINS + 1)
"""From three years to the highest trial frequency, per day."""

GRID = Grid(
    max_frequency_per_day=MAX_FREQUENCY_PER_DAY,
    samples_per_peak=SAMPLES_PER_PEAK,
    min_frequencies=MIN_FREQUENCIES,
    n_peaks=N_CANDIDATES,
    edges_per_day=SPECTRUM_EDGES,
)
"""What every light curve is searched at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """Result of the search for each alert of a batch.

    Parameters
    ----------
    searched
        Where there were epochs enough to claim a period; shape (B,). The next four columns are 0 elsewhere.
    period_day
        Period of the strongest peak.
    false_alarm_probability
        Probability of so strong a peak in noise alone.
    aliases_day
        Periods of the next strongest separate peaks, 0 where there are fewer; shape (B, N_ALIASES).
    n_epochs
        Epochs that were searched.
    frequency_per_day, power
        The strongest separate peaks in falling order, also where no period is claimed, 0 where there are
        fewer; shape (B, N_CANDIDATES). Power is the share of the variance that a sinusoid takes away.
    spectrum
        Highest power in each of `N_SPECTRUM_BINS` bins of log frequency; shape (B, N_SPECTRUM_BINS).
    """

    searched: NDArray[np.bool_]
    period_day: NDArray[np.float64]
    false_alarm_probability: NDArray[np.float64]
    aliases_day: NDArray[np.float64]
    n_epochs: NDArray[np.int64]
    frequency_per_day: NDArray[np.float64]
    power: NDArray[np.float64]
    spectrum: NDArray[np.float64]

    @classmethod
    def none(cls, n: int) -> Periods:
        """Return the result for `n` alerts of which none was searched.

        Examples
        --------
        >>> Periods.none(2).searched
        array([False, False])
        """
        return cls(
            searched=np.zeros(n, np.bool_),
            period_day=np.zeros(n),
            false_alarm_probability=np.zeros(n),
            aliases_day=np.zeros((n, N_ALIASES)),
            n_epochs=np.zeros(n, np.int64),
            frequency_per_day=np.zeros((n, N_CANDIDATES)),
            power=np.zeros((n, N_CANDIDATES)),
            spectrum=np.zeros((n, N_SPECTRUM_BINS)),
        )

    def take(self, rows: NDArray[np.intp]) -> Periods:
        """Return the results for the alerts at `rows`, in that order."""
        return Periods(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})


def catalogue_periods(batch: AlertBatch) -> NDArray[np.float64]:
    """Return the period in days that a catalogue gives for each alert, 0 where none is known; shape (B,)."""
    given = batch.metadata[:, CATALOGUE_COLUMN]
    known = batch.metadata_valid[:, CATALOGUE_COLUMN] & (given >= LEAST_PERIOD_DAY)
    return np.where(known, given, 0.0).astype(np.float64)


def without_catalogue_period(batch: AlertBatch) -> AlertBatch:
    """Return the same alerts as if no catalogue knew their period."""
    valid = batch.metadata_valid.copy()
    valid[:, CATALOGUE_COLUMN] = False
    return replace(batch, metadata_valid=valid)


def find_periods(batch: AlertBatch) -> Periods:
    """Search every alert of a batch that has epochs enough.

    An alert is searched if it has `MIN_SEARCHED_EPOCHS` epochs that vary at all, counting the `WINDOW_DAY`
    days before it and bands with `MIN_BAND_EPOCHS` epochs; a period is claimed from `MIN_EPOCHS` epochs on
    `MIN_NIGHTS` nights. Its result depends on its own epochs alone. Costs some 30 microseconds for an alert
    whose month is searched, some milliseconds for one of years, and next to nothing for the others.
    """
    epochs = searched_epochs(batch)
    alerts, starts, stops = epochs.parts()
    peaks = strongest_peaks(epochs.curves(starts, stops), GRID)
    periods = Periods.none(len(batch))
    periods.frequency_per_day[alerts] = peaks.frequency_per_day
    periods.power[alerts] = peaks.power
    periods.spectrum[alerts] = peaks.spectrum
    # Nights are counted back from the alert, whose night lasts half a day to either side.
    nights = np.unique(epochs.row * (1 << 20) + np.floor(epochs.age_day + 0.5).astype(np.int64)) >> 20
    n_nights = np.bincount(nights, minlength=len(batch))[alerts]
    is_claimed = (stops - starts >= MIN_EPOCHS) & (n_nights >= MIN_NIGHTS) & (peaks.power[:, 0] > 0)
    claimed = alerts[is_claimed]
    periods.searched[claimed] = True
    frequency = peaks.frequency_per_day[is_claimed]
    period_day = np.divide(1.0, frequency, out=np.zeros_like(frequency), where=frequency > 0)
    periods.period_day[claimed] = period_day[:, 0]
    periods.aliases_day[claimed] = period_day[:, 1 : 1 + N_ALIASES]
    periods.false_alarm_probability[claimed] = peaks.false_alarm_probability[is_claimed]
    periods.n_epochs[claimed] = (stops - starts)[is_claimed]
    return periods
