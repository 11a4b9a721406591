# SPDX-License-Identifier: BSD-3-Clause
"""Period search over the light curves of a batch.

A Lomb-Scargle periodogram of one harmonic and a free mean, over all bands together: each band is brought to
its own median and scatter first. One harmonic finds the period of a star, or half of it; several of its peaks
are kept as candidates, so that the encoders can judge by the folded light curves which of them it is.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.brightness import standardised
from broker_plugin.features.lomb_scargle import lombscargle
from broker_plugin.features.ragged import band_groups, row_of
from broker_plugin.records import AlertBatch

__all__ = [
    "MIN_EPOCHS",
    "N_ALIASES",
    "N_CANDIDATES",
    "N_SPECTRUM_BINS",
    "WINDOW_DAY",
    "Peaks",
    "Periods",
    "Searched",
    "find_periods",
    "periodogram_peaks",
    "searched_epochs",
]

FloatArray = NDArray[np.float64]

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

MIN_SEARCHED_EPOCHS = 5
"""From here on a periodogram says something: not which period, but which are excluded."""

MIN_BAND_EPOCHS = 3
"""A band with fewer epochs has no scatter of its own to be measured in, so it is not searched."""

WINDOW_DAY = 3000.0
"""Only epochs this long before the alert are searched: with the two numbers below it bounds the size of a
periodogram at 180,000 frequencies (30 ms) whatever times a packet may hold."""

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

CONTENDERS = 400
"""Local maxima that are compared: side lobes crowd the first hundred places, and sorting all costs more."""


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
    """

    row: NDArray[np.int64]
    age_day: FloatArray
    deviation: FloatArray
    error: FloatArray

    def parts(self) -> list[slice]:
        """Return where the epochs of each alert that has any lie."""
        ends = np.flatnonzero(np.diff(self.row)) + 1
        edges = [0, *ends.tolist(), len(self.row)]
        return [slice(start, stop) for start, stop in itertools.pairwise(edges) if start < stop]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """The strongest separate peaks of one light curve's periodogram in falling order; see `Periods`."""

    frequency_per_day: FloatArray
    power: FloatArray
    spectrum: FloatArray
    false_alarm_probability: float


def find_periods(batch: AlertBatch) -> Periods:
    """Search every alert of a batch that has epochs enough.

    An alert is searched if it has `MIN_SEARCHED_EPOCHS` epochs that vary at all, counting the `WINDOW_DAY`
    days before it and bands with `MIN_BAND_EPOCHS` epochs; a period is claimed from `MIN_EPOCHS` epochs on
    `MIN_NIGHTS` nights. Its result depends on its own epochs alone. Costs 0.2 to 30 ms for each alert that is
    searched, by its span, and next to nothing for the others.
    """
    periods = Periods.none(len(batch))
    epochs = searched_epochs(batch)
    for part in epochs.parts():
        alert, start, stop = int(epochs.row[part.start]), part.start, part.stop
        peaks = periodogram_peaks(epochs.age_day[part], epochs.deviation[part], epochs.error[part])
        if peaks is None:
            continue
        n = len(peaks.frequency_per_day)
        periods.frequency_per_day[alert, :n] = peaks.frequency_per_day
        periods.power[alert, :n] = peaks.power
        periods.spectrum[alert] = peaks.spectrum
        # Nights are counted back from the alert, whose night lasts half a day to either side.
        n_nights = len(np.unique(np.floor(epochs.age_day[part] + 0.5)))
        if stop - start >= MIN_EPOCHS and n_nights >= MIN_NIGHTS:
            periods.searched[alert] = True
            periods.period_day[alert] = 1.0 / peaks.frequency_per_day[0]
            periods.false_alarm_probability[alert] = peaks.false_alarm_probability
            aliases = 1.0 / peaks.frequency_per_day[1 : 1 + N_ALIASES]
            periods.aliases_day[alert, : len(aliases)] = aliases
            periods.n_epochs[alert] = stop - start
    return periods


def searched_epochs(batch: AlertBatch) -> Searched:
    """Return the epochs of all alerts that have enough of them to be searched."""
    row = row_of(batch.offsets)
    epochs = batch.epochs
    with np.errstate(over="ignore"):
        age_day = batch.mjd_tai[row] - epochs.mjd_tai
    many = batch.n_epochs >= MIN_SEARCHED_EPOCHS
    rows = np.flatnonzero(many[row] & (age_day >= 0) & (age_day <= WINDOW_DAY))
    group, _ = band_groups(row[rows], epochs.band[rows], epochs.apparent[rows])
    rows = rows[np.bincount(group)[group] >= MIN_BAND_EPOCHS] if len(rows) else rows
    n_epochs = np.bincount(row[rows], minlength=len(batch))
    rows = rows[(n_epochs >= MIN_SEARCHED_EPOCHS)[row[rows]]]
    deviation, error = standardised(epochs.take(rows), row[rows])
    return Searched(row=row[rows], age_day=age_day[rows], deviation=deviation, error=error)


def periodogram_peaks(age_day: FloatArray, deviation: FloatArray, error: FloatArray) -> Peaks | None:
    """Return the strongest peaks of one light curve's periodogram, None where it has no span or is flat."""
    time_day = age_day.max() - age_day
    span = float(time_day.max())
    if span <= 0 or np.ptp(deviation) == 0:
        return None
    step = 1.0 / (SAMPLES_PER_PEAK * span)
    lowest = 0.5 / span
    n_frequencies = max(MIN_FREQUENCIES, int(MAX_FREQUENCY_PER_DAY / step))
    order = np.argsort(time_day, kind="stable")
    result = lombscargle(
        time_day[order],
        deviation[order],
        error[order],
        fmin=lowest,
        fmax=lowest + step * (n_frequencies - 1),
        Nf=n_frequencies,
        backend="finufft",
        nthreads=1,
    )
    power = np.clip(np.nan_to_num(result.power, nan=0.0, posinf=0.0, neginf=0.0), 0.0, 1.0)
    peaks = _separate_peaks(power)
    if not peaks:
        return None
    bandwidth = MAX_FREQUENCY_PER_DAY * math.sqrt(4 * math.pi * float(np.var(time_day)))
    return Peaks(
        frequency_per_day=lowest + step * np.array([_refined(power, peak) for peak in peaks]),
        power=power[peaks],
        spectrum=_binned(power, lowest, step),
        false_alarm_probability=_false_alarm_probability(
            float(power[peaks[0]]), len(time_day), bandwidth=bandwidth
        ),
    )


def _binned(power: FloatArray, lowest: float, step: float) -> FloatArray:
    """Return the highest power in each bin of log frequency, 0 where a bin holds no trial frequency."""
    first = np.ceil((SPECTRUM_EDGES - lowest) / step).astype(np.int64)
    first = np.clip(first, 0, len(power))
    filled = first[1:] > first[:-1]
    spectrum = np.zeros(N_SPECTRUM_BINS)
    if filled.any():
        inside = power[: first[-1]]
        spectrum[filled] = np.maximum.reduceat(inside, first[:-1][filled])
    return spectrum


def _separate_peaks(power: FloatArray) -> list[int]:
    """Return the strongest local maxima, each at least one resolution element from a stronger one."""
    padded = np.concatenate([[-1.0], power, [-1.0]])
    is_peak = (power > padded[:-2]) & (power >= padded[2:]) & (power > 0)
    candidates = np.flatnonzero(is_peak)
    if len(candidates) > CONTENDERS:
        strongest = np.argpartition(-power[candidates], CONTENDERS)[:CONTENDERS]
        candidates = np.sort(candidates[strongest])
    peaks: list[int] = []
    for candidate in candidates[np.argsort(-power[candidates], kind="stable")].tolist():
        if all(abs(candidate - peak) > SAMPLES_PER_PEAK for peak in peaks):
            peaks.append(candidate)
        if len(peaks) == N_CANDIDATES:
            break
    return peaks


def _refined(power: FloatArray, peak: int) -> float:
    """Return the vertex of the parabola through a peak and its neighbours, as a fraction of the grid."""
    if not 0 < peak < len(power) - 1:
        return float(peak)
    before, top, after = (float(value) for value in power[peak - 1 : peak + 2])
    curvature = before - 2 * top + after
    return peak if curvature == 0 else peak + 0.5 * (before - after) / curvature


def _false_alarm_probability(power: float, n: int, *, bandwidth: float) -> float:
    """Return Baluev's (2008, MNRAS 385, 1279) bound for one harmonic over a free mean.

    Parameters
    ----------
    power
        Fraction of the weighted variance that the sinusoid takes away.
    n
        Number of epochs.
    bandwidth
        Highest frequency times sqrt(4 pi var(t)): the number of independent frequencies, nearly.
    """
    left = 1.0 - min(power, 1.0 - 1e-15)
    free = n - 3
    single = left ** (0.5 * free)
    log_gamma = math.lgamma(0.5 * (n - 1)) - math.lgamma(0.5 * (n - 2))
    gamma = math.sqrt(2.0 / (n - 1)) * math.exp(log_gamma)
    tau = gamma * bandwidth * left ** (0.5 * (free - 1)) * math.sqrt(0.5 * (n - 1) * power)
    return float(min(1.0, max(0.0, -math.expm1(math.log1p(-single) - tau))))
