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

from broker_plugin.features.period import Periods, Searched

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
    frequency = np.concatenate([periods.frequency_per_day, given_per_day[:, None]], axis=1)
    row, rank = np.nonzero(frequency > 0)
    power = np.concatenate([periods.power, np.zeros((len(frequency), 1))], axis=1)[row, rank]
    pairs = _Pairs.of(epochs, row, frequency[row, rank], len(frequency))
    matrix, target, variance = _normal_equations(pairs)
    left = np.stack(
        [_share_left(matrix, target, variance, pairs, np.array(series)) for series in SERIES], axis=1
    )
    coefficients = _solved(matrix, target, pairs, np.arange(1, N_HARMONICS + 1))
    scatter = np.sqrt(np.maximum(variance / pairs.weight_sum, 1e-12))[:, None]
    cosine, sine = (
        coefficients[:, 1 : N_HARMONICS + 1] / scatter,
        coefficients[:, N_HARMONICS + 1 :] / scatter,
    )
    curve, faintest = _curve(cosine, sine)
    binned, filled = _binned(pairs, faintest, scatter[:, 0])
    best = _best(row, left[:, 0], len(frequency))
    turned = -2 * np.pi * faintest[:, None] * np.arange(1, N_HARMONICS + 1)
    return Folds(
        row=row,
        rank=rank,
        frequency_per_day=pairs.frequency_per_day,
        power=power,
        n_epochs=pairs.n_epochs,
        span_day=pairs.span_day,
        # Phases count from the faintest point from here on, so that they do not depend on the alert's time.
        cosine=cosine * np.cos(turned) - sine * np.sin(turned),
        sine=sine * np.cos(turned) + cosine * np.sin(turned),
        left=left,
        curve=curve,
        binned=binned,
        filled=filled,
        left_over=_left_over(pairs, coefficients, best[best >= 0], len(epochs.row)),
        best=best,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    """Each fold with its epochs: columns over folds (P,) and over their epochs (M,), fold by fold."""

    frequency_per_day: FloatArray
    start: IntArray
    n_epochs: IntArray
    span_day: FloatArray
    weight_sum: FloatArray
    fold: IntArray
    epoch: IntArray
    turns: FloatArray
    weight: FloatArray
    value: FloatArray

    @classmethod
    def of(cls, epochs: Searched, row: IntArray, frequency: FloatArray, n_alerts: int) -> _Pairs:
        count = np.bincount(epochs.row, minlength=n_alerts)
        first = np.cumsum(count) - count
        n_epochs = count[row]
        start = np.cumsum(n_epochs) - n_epochs
        fold_of = np.repeat(np.arange(len(row)), n_epochs)
        source = np.arange(int(n_epochs.sum())) - np.repeat(start, n_epochs) + np.repeat(first[row], n_epochs)
        weight = 1.0 / epochs.error[source] ** 2
        weight_sum = np.maximum(_sums(weight, fold_of, len(row)), 1e-12)
        value = epochs.deviation[source]
        value = value - (_sums(weight * value, fold_of, len(row)) / weight_sum)[fold_of]
        turns = 0.5 * frequency[fold_of] * epochs.age_day[source]
        oldest = np.zeros(n_alerts)
        youngest = np.full(n_alerts, np.inf)
        np.maximum.at(oldest, epochs.row, epochs.age_day)
        np.minimum.at(youngest, epochs.row, epochs.age_day)
        return cls(
            frequency_per_day=frequency,
            start=start,
            n_epochs=n_epochs,
            span_day=np.where(count > 0, oldest - np.where(count > 0, youngest, 0.0), 0.0)[row],
            weight_sum=weight_sum,
            fold=fold_of,
            epoch=source,
            turns=-turns + np.ceil(turns),
            weight=weight,
            value=value,
        )

    def __len__(self) -> int:
        return len(self.frequency_per_day)


def _sums(values: NDArray[np.floating], group: IntArray, n: int) -> FloatArray:
    return np.bincount(group, values, n).astype(np.float64)


def _normal_equations(pairs: _Pairs) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the matrix (P, Q, Q) and right side (P, Q) of the fit, Q = 1 + 2 N_HARMONICS, and the variance.

    The unknowns are the mean, the cosines and the sines. All sums of products of waves are sums of single
    waves of twice as many harmonics.
    """
    n = N_HARMONICS
    wave = np.exp(2j * np.pi * pairs.turns)
    power = np.ones_like(wave)
    of_weight = np.zeros((len(pairs), 2 * n + 1), np.complex128)
    of_value = np.zeros((len(pairs), n + 1), np.complex128)
    for harmonic in range(2 * n + 1):
        of_weight[:, harmonic] = _complex_sums(pairs.weight * power, pairs)
        if harmonic <= n:
            of_value[:, harmonic] = _complex_sums(pairs.weight * pairs.value * power, pairs)
        power = power * wave
    order = np.arange(n + 1)
    difference, total = order[:, None] - order[None, :], order[:, None] + order[None, :]
    lower = of_weight[:, np.abs(difference)]
    lower = np.where(difference >= 0, lower, np.conj(lower))
    upper = of_weight[:, total]
    matrix = np.empty((len(pairs), 2 * n + 1, 2 * n + 1))
    matrix[:, : n + 1, : n + 1] = 0.5 * (lower.real + upper.real)
    matrix[:, n + 1 :, n + 1 :] = 0.5 * (lower.real - upper.real)[:, 1:, 1:]
    mixed = 0.5 * (upper.imag - lower.imag)[:, :, 1:]
    matrix[:, : n + 1, n + 1 :] = mixed
    matrix[:, n + 1 :, : n + 1] = np.swapaxes(mixed, 1, 2)
    target = np.concatenate([of_value.real, of_value.imag[:, 1:]], axis=1)
    return matrix, target, _sums(pairs.weight * pairs.value**2, pairs.fold, len(pairs))


def _complex_sums(values: NDArray[np.complex128], pairs: _Pairs) -> NDArray[np.complex128]:
    return _sums(values.real, pairs.fold, len(pairs)) + 1j * _sums(values.imag, pairs.fold, len(pairs))


def _prior(pairs: _Pairs, harmonics: IntArray) -> FloatArray:
    """Return the weight that draws each coefficient to zero; shape (P, 2 * len(harmonics))."""
    weight = pairs.weight_sum[:, None]
    epochs = np.maximum(pairs.n_epochs, 1)[:, None]
    prior = weight * (ROUGHNESS * harmonics**2 + PRIOR_EPOCHS / epochs)
    return np.concatenate([prior, prior], axis=1)


def _solved(matrix: FloatArray, target: FloatArray, pairs: _Pairs, harmonics: IntArray) -> FloatArray:
    """Return mean, cosines and sines (P, 1 + 2 len(harmonics)) of a series of some harmonics."""
    wanted = np.concatenate([[0], harmonics, N_HARMONICS + harmonics])
    part = matrix[:, wanted[:, None], wanted[None, :]]
    diagonal = np.arange(1, len(wanted))
    part[:, diagonal, diagonal] += _prior(pairs, harmonics)
    part[:, 0, 0] += 1e-9 * pairs.weight_sum
    return np.asarray(np.linalg.solve(part, target[:, wanted, None])[:, :, 0], np.float64)


def _share_left(
    matrix: FloatArray, target: FloatArray, variance: FloatArray, pairs: _Pairs, harmonics: IntArray
) -> FloatArray:
    wanted = np.concatenate([[0], harmonics, N_HARMONICS + harmonics])
    solution = _solved(matrix, target, pairs, harmonics)
    part = matrix[:, wanted[:, None], wanted[None, :]]
    explained: FloatArray = 2 * (solution * target[:, wanted]).sum(axis=1)
    # Not a matrix product: its last bits would depend on how many folds there are.
    explained -= (solution * (part * solution[:, None, :]).sum(axis=2)).sum(axis=1)
    return np.asarray(np.clip(1.0 - explained / np.maximum(variance, 1e-12), 0.0, 1.0))


def _best(row: IntArray, left: FloatArray, n_alerts: int) -> IntArray:
    """Return the fold of each alert that leaves least, the earlier of two that leave the same."""
    order = np.lexsort((left, row))
    found, first = np.unique(row[order], return_index=True)
    best = np.full(n_alerts, -1, np.int64)
    best[found] = order[first]
    return best


def _left_over(pairs: _Pairs, coefficients: FloatArray, chosen: IntArray, n_epochs: int) -> FloatArray:
    """Return what the full series of the chosen folds leaves of their epochs, 0 for all other epochs."""
    is_chosen = np.zeros(len(pairs), np.bool_)
    is_chosen[chosen] = True
    rows = np.flatnonzero(is_chosen[pairs.fold])
    of = coefficients[pairs.fold[rows]]
    wave = np.exp(2j * np.pi * pairs.turns[rows])
    left = pairs.value[rows] - of[:, 0]
    power = np.ones_like(wave)
    for harmonic in range(1, N_HARMONICS + 1):
        power = power * wave
        left -= of[:, harmonic] * power.real + of[:, N_HARMONICS + harmonic] * power.imag
    result = np.zeros(n_epochs)
    result[pairs.epoch[rows]] = left
    return result


def _curve(cosine: FloatArray, sine: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the series over two periods from its faintest point on, and the phase (0 to 1) of that point."""
    fine = 2 * N_PHASES
    series = np.zeros((len(cosine), fine))
    for harmonic in range(N_HARMONICS):
        angle = 2 * np.pi * (harmonic + 1) * np.arange(fine) / fine
        series += cosine[:, harmonic, None] * np.cos(angle) + sine[:, harmonic, None] * np.sin(angle)
    faintest = series.argmax(axis=1)
    turned = (faintest[:, None] + 2 * np.arange(N_PHASES)) % fine
    return np.take_along_axis(series, turned, axis=1), faintest / fine


def _binned(pairs: _Pairs, faintest: FloatArray, scatter: FloatArray) -> tuple[FloatArray, FloatArray]:
    phase = pairs.turns - faintest[pairs.fold]
    phase -= np.floor(phase)
    bin_ = np.minimum((phase * N_PHASES).astype(np.int64), N_PHASES - 1)
    cell = pairs.fold * N_PHASES + bin_
    weight = _sums(pairs.weight, cell, len(pairs) * N_PHASES).reshape(-1, N_PHASES)
    total = _sums(pairs.weight * pairs.value, cell, len(pairs) * N_PHASES).reshape(-1, N_PHASES)
    drawn = EMPTY_EPOCHS * pairs.weight_sum / np.maximum(pairs.n_epochs, 1)
    mean = total / (weight + drawn[:, None]) / scatter[:, None]
    return mean, (weight > 0).mean(axis=1)
