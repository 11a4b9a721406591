# SPDX-License-Identifier: BSD-3-Clause
"""Period search over the light curves of a batch.

A Lomb-Scargle periodogram of one harmonic and a free mean, over all bands together: each band is brought to
its own median and scatter first. One harmonic finds the period of a star, or half of it; the encoders are
given the phases of both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import nifty_ls
import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.ragged import band_groups, row_of, segment_median
from broker_plugin.records import AlertBatch

__all__ = ["MIN_EPOCHS", "N_ALIASES", "WINDOW_DAY", "Periods", "find_periods"]

FloatArray = NDArray[np.float64]

N_ALIASES = 2
"""How many further peaks are kept. For 92 % of Catalina's variables the strongest peak is the period or half
of it, and for 97 % one of the three strongest."""

MIN_EPOCHS = 12
"""Fewer epochs than this are not searched. A sinusoid with a mean and thousands of trial frequencies passes
through any handful of points; and a search costs a millisecond, which most alerts of a night are spared."""

MIN_NIGHTS = 5
"""Fewer nights than this cannot tell a period from its daily aliases."""

MIN_BAND_EPOCHS = 3
"""A band with fewer epochs has no scatter of its own to be measured in, so it is not searched."""

WINDOW_DAY = 3000.0
"""Only epochs this long before the alert are searched: with the two numbers below it bounds the size of a
periodogram at 300,000 frequencies (40 ms) whatever times a packet may hold."""

MAX_FREQUENCY_PER_DAY = 20.0
"""Highest trial frequency: high-amplitude delta Scuti stars reach it, and doubling it doubles the cost."""

SAMPLES_PER_PEAK = 5
"""Trial frequencies in one resolution element (1 / span); with fewer a peak can fall between two."""

ERROR_FLOOR = 0.1
"""Least error, in units of a band's scatter: a few epochs with tiny errors would else carry all weight."""

CLIP = 20.0
"""Largest deviation that counts, in units of a band's scatter, so that one wild epoch is not a period."""

MAD_TO_SIGMA = 1.4826
"""Standard deviation over median absolute deviation of a normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """Result of the search for each alert of a batch.

    Parameters
    ----------
    searched
        Where there were epochs enough to search; the other columns are 0 elsewhere. Shape (B,).
    period_day
        Period of the strongest peak.
    false_alarm_probability
        Probability of so strong a peak in noise alone.
    aliases_day
        Periods of the next strongest separate peaks, 0 where there are fewer; shape (B, N_ALIASES).
    n_epochs
        Epochs that were searched.
    """

    searched: NDArray[np.bool_]
    period_day: NDArray[np.float64]
    false_alarm_probability: NDArray[np.float64]
    aliases_day: NDArray[np.float64]
    n_epochs: NDArray[np.int64]

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
        )


def find_periods(batch: AlertBatch) -> Periods:
    """Search every alert of a batch that has epochs enough.

    An alert is searched if it has `MIN_EPOCHS` epochs on `MIN_NIGHTS` nights that vary at all, counting the
    `WINDOW_DAY` days before it and bands with `MIN_BAND_EPOCHS` epochs. Its result depends on its own epochs
    alone. Costs 1 to 40 ms for each alert that is searched, by its span, and next to nothing for the others.
    """
    periods = Periods.none(len(batch))
    many = batch.n_epochs >= MIN_EPOCHS
    if not many.any():
        return periods
    row = row_of(batch.offsets)
    rows = _eligible_epochs(batch, row, many)
    if not len(rows):
        return periods
    deviation, error = _standardised(batch, row[rows], rows)
    age_day = batch.mjd_tai[row[rows]] - batch.epochs.mjd_tai[rows]
    for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(row[rows])) + 1):
        alert = int(row[rows[part[0]]])
        peaks = _search(age_day[part], deviation[part], error[part])
        if peaks is not None:
            found, false_alarm = peaks
            periods.searched[alert] = True
            periods.period_day[alert] = found[0]
            periods.false_alarm_probability[alert] = false_alarm
            periods.aliases_day[alert, : len(found) - 1] = found[1:]
            periods.n_epochs[alert] = len(part)
    return periods


def _eligible_epochs(batch: AlertBatch, row: NDArray[np.int64], many: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the positions of the epochs to be searched, in order of alert."""
    epochs = batch.epochs
    with np.errstate(over="ignore"):
        age_day = batch.mjd_tai[row] - epochs.mjd_tai
    rows = np.flatnonzero(many[row] & (age_day >= 0) & (age_day <= WINDOW_DAY))
    group, _ = band_groups(row[rows], epochs.band[rows], epochs.apparent[rows])
    rows = rows[np.bincount(group)[group] >= MIN_BAND_EPOCHS]
    n_epochs = np.bincount(row[rows], minlength=len(batch))
    # Nights are counted back from the alert, whose night lasts half a day to either side.
    night = np.stack([row[rows], np.floor(age_day[rows] + 0.5).astype(np.int64)], axis=1)
    n_nights = np.bincount(np.unique(night, axis=0)[:, 0], minlength=len(batch))
    return rows[((n_epochs >= MIN_EPOCHS) & (n_nights >= MIN_NIGHTS))[row[rows]]]


def _standardised(
    batch: AlertBatch, row: NDArray[np.int64], rows: NDArray[np.intp]
) -> tuple[FloatArray, FloatArray]:
    """Return deviations from each band's median and their errors, in units of the band's scatter."""
    epochs = batch.epochs
    flux = epochs.flux_njy[rows].astype(np.float64)
    flux_err = np.abs(epochs.flux_err_njy[rows].astype(np.float64))
    group, group_row = band_groups(row, epochs.band[rows], epochs.apparent[rows])
    n_groups = len(group_row)
    deviation = flux - segment_median(flux, group, n_groups)[group]
    scatter = MAD_TO_SIGMA * segment_median(np.abs(deviation), group, n_groups)
    scale = np.maximum(scatter, segment_median(flux_err, group, n_groups))[group]
    scale = np.where(scale > 0, scale, 1.0)
    return (
        np.clip(deviation / scale, -CLIP, CLIP),
        np.clip(np.hypot(flux_err / scale, ERROR_FLOOR), ERROR_FLOOR, CLIP),
    )


def _search(
    age_day: FloatArray, deviation: FloatArray, error: FloatArray
) -> tuple[list[float], float] | None:
    """Return the periods of the strongest peaks and the false-alarm probability of the first."""
    time_day = age_day.max() - age_day
    span = float(time_day.max())
    if span <= 0 or np.ptp(deviation) == 0:
        return None
    step = 1.0 / (SAMPLES_PER_PEAK * span)
    n_frequencies = int(MAX_FREQUENCY_PER_DAY / step)
    order = np.argsort(time_day, kind="stable")
    result = nifty_ls.lombscargle(
        time_day[order],
        deviation[order],
        error[order],
        fmin=1.0 / span,
        fmax=1.0 / span + step * (n_frequencies - 1),
        Nf=n_frequencies,
        backend="finufft",
        nthreads=1,
    )
    power = np.clip(np.nan_to_num(result.power, nan=0.0, posinf=0.0, neginf=0.0), 0.0, 1.0)
    peaks = _separate_peaks(power)
    if not peaks:
        return None
    frequency = 1.0 / span + step * np.array([_refined(power, peak) for peak in peaks])
    bandwidth = MAX_FREQUENCY_PER_DAY * math.sqrt(4 * math.pi * float(np.var(time_day)))
    false_alarm = _false_alarm_probability(float(power[peaks[0]]), len(time_day), bandwidth=bandwidth)
    return [float(period) for period in 1.0 / frequency], false_alarm


def _separate_peaks(power: FloatArray) -> list[int]:
    """Return the strongest local maxima, each at least one resolution element from a stronger one."""
    padded = np.concatenate([[-1.0], power, [-1.0]])
    is_peak = (power > padded[:-2]) & (power >= padded[2:]) & (power > 0)
    candidates = np.flatnonzero(is_peak)
    peaks: list[int] = []
    for candidate in candidates[np.argsort(-power[candidates], kind="stable")].tolist():
        if all(abs(candidate - peak) > SAMPLES_PER_PEAK for peak in peaks):
            peaks.append(candidate)
        if len(peaks) > N_ALIASES:
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
