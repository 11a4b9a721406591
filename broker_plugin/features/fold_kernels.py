# SPDX-License-Identifier: BSD-3-Clause
"""Kernels that fold light curves at trial frequencies.

Importing this takes a second of its own, for numba.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.series_kernels import LANES, TINY, add_up, put_equations, share_left, wave
from broker_plugin.kernels import fused_kernel, kernel

__all__ = ["fold_all"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Number = Any
"""A number of a kernel: numpy's in plain Python, 64 bits once compiled."""

TURN = 2.0 * math.pi


@fused_kernel
def fold_all(
    row: IntArray,
    frequency: FloatArray,
    starts: IntArray,
    stops: IntArray,
    age_day: FloatArray,
    deviation: FloatArray,
    error: FloatArray,
    series: IntArray,
    roughness: Number,
    prior_epochs: Number,
    empty_epochs: Number,
    cosine: FloatArray,
    sine: FloatArray,
    left: FloatArray,
    curve: FloatArray,
    binned: FloatArray,
    filled: FloatArray,
    span_day: FloatArray,
    best: IntArray,
    left_over: FloatArray,
) -> None:
    """Fill in the columns of all folds; see `Folds`.

    Parameters
    ----------
    starts, stops
        Where the epochs of each alert lie.
    series
        Harmonics of each series, 0 behind the last; the first is the full one. Shape (S, N_HARMONICS).
    """
    n_harmonics, n_phases = cosine.shape[1], curve.shape[1]
    n_unknowns = 2 * n_harmonics + 1
    longest = 0
    for alert in range(len(starts)):
        longest = max(longest, stops[alert] - starts[alert])
    weight, value, turns = np.empty(longest), np.empty(longest), np.empty(longest)
    lanes, sums = np.empty(7 * LANES), np.empty((3 * n_harmonics + 2) * 2 * LANES)
    of_weight = np.empty(2 * n_harmonics + 1, np.complex128)
    of_value = np.empty(n_harmonics + 1, np.complex128)
    matrix, target = np.empty((n_unknowns, n_unknowns)), np.empty(n_unknowns)
    solution, full, best_full = np.empty(n_unknowns), np.empty(n_unknowns), np.empty(n_unknowns)
    waves = _waves(n_harmonics, 2 * n_phases)
    fold = 0
    while fold < len(row):
        alert = row[fold]
        start, stop = starts[alert], stops[alert]
        n = stop - start
        weight_sum, variance = _weigh(deviation[start:stop], error[start:stop], weight, value)
        scatter = math.sqrt(max(variance / weight_sum, TINY))
        span = _span(age_day[start:stop])
        while fold < len(row) and row[fold] == alert:
            _turn(frequency[fold], age_day[start:stop], turns)
            add_up(weight[:n], value[:n], turns[:n], lanes, sums, of_weight, of_value)
            put_equations(of_weight, of_value, matrix, target)
            for number in range(len(series)):
                result = full if number == 0 else solution
                left[fold, number] = share_left(
                    matrix, target, series[number], weight_sum, variance, n, roughness, prior_epochs, result
                )
            faintest = _put_curve(full, scatter, waves, cosine[fold], sine[fold], curve[fold])
            filled[fold] = _put_bins(
                weight[:n], value[:n], turns, faintest, scatter, empty_epochs * weight_sum, binned[fold]
            )
            span_day[fold] = span
            if best[alert] < 0 or left[fold, 0] < left[best[alert], 0]:
                best[alert] = fold
                best_full, full = full, best_full
            fold += 1
        _turn(frequency[best[alert]], age_day[start:stop], turns)
        _put_left_over(value[:n], turns, best_full, left_over[start:stop])


@kernel
def _span(age_day: FloatArray) -> Number:
    low, high = math.inf, -math.inf
    for age in age_day:
        low, high = min(low, age), max(high, age)
    return high - low if len(age_day) > 0 else 0.0


@kernel
def _waves(n_harmonics: Number, n: Number) -> FloatArray:
    """Return cosine and sine of each harmonic at n phases; shape (2, N_HARMONICS, n)."""
    waves = np.empty((2, n_harmonics, n))
    for harmonic in range(n_harmonics):
        for phase in range(n):
            angle = TURN * ((harmonic + 1) * phase % n) / n
            waves[0, harmonic, phase], waves[1, harmonic, phase] = math.cos(angle), math.sin(angle)
    return waves


@fused_kernel
def _weigh(
    deviation: FloatArray, error: FloatArray, weight: FloatArray, value: FloatArray
) -> tuple[Number, Number]:
    """Put weights and values about their mean; return the sum of the weights and the weighted square."""
    total = mean = 0.0
    for epoch in range(len(deviation)):
        weight[epoch] = 1.0 / (error[epoch] * error[epoch])
        total += weight[epoch]
        mean += weight[epoch] * deviation[epoch]
    total = max(total, TINY)
    variance = 0.0
    for epoch in range(len(deviation)):
        value[epoch] = deviation[epoch] - mean / total
        variance += weight[epoch] * value[epoch] * value[epoch]
    return total, variance


@kernel
def _turn(frequency: Number, age_day: FloatArray, turns: FloatArray) -> None:
    """Put the phase of each epoch, 0 to 1, at half the frequency."""
    for epoch in range(len(age_day)):
        turned = 0.5 * frequency * age_day[epoch]
        turns[epoch] = math.ceil(turned) - turned


@fused_kernel
def _put_curve(
    full: FloatArray,
    scatter: Number,
    waves: FloatArray,
    cosine: FloatArray,
    sine: FloatArray,
    curve: FloatArray,
) -> Number:
    """Put the series from its faintest point on, over two periods, and return the phase of that point."""
    n_harmonics, fine = len(cosine), waves.shape[2]
    points = np.zeros(fine)
    for harmonic in range(n_harmonics):
        cosine[harmonic] = full[1 + harmonic] / scatter
        sine[harmonic] = full[1 + n_harmonics + harmonic] / scatter
        for phase in range(fine):
            points[phase] += cosine[harmonic] * waves[0, harmonic, phase]
            points[phase] += sine[harmonic] * waves[1, harmonic, phase]
    faintest = 0
    for phase in range(fine):
        if points[phase] > points[faintest]:
            faintest = phase
    for phase in range(len(curve)):
        curve[phase] = points[(faintest + fine // len(curve) * phase) % fine]
    for harmonic in range(n_harmonics):
        # Phases count from the faintest point, so that they do not depend on the alert's time.
        c, s = waves[0, harmonic, faintest], waves[1, harmonic, faintest]
        cosine[harmonic], sine[harmonic] = (
            cosine[harmonic] * c + sine[harmonic] * s,
            sine[harmonic] * c - cosine[harmonic] * s,
        )
    return faintest / fine


@kernel
def _put_bins(
    weight: FloatArray,
    value: FloatArray,
    turns: FloatArray,
    faintest: Number,
    scatter: Number,
    drawn: Number,
    binned: FloatArray,
) -> Number:
    """Put the mean in bins of phase, drawn to zero; return the share of bins that hold an epoch."""
    n, n_phases = len(weight), len(binned)
    weights = np.zeros(n_phases)
    for bin_ in range(n_phases):
        binned[bin_] = 0.0
    for epoch in range(n):
        phase = turns[epoch] - faintest
        phase -= math.floor(phase)
        bin_ = min(int(phase * n_phases), n_phases - 1)
        weights[bin_] += weight[epoch]
        binned[bin_] += weight[epoch] * value[epoch]
    n_filled = 0
    for bin_ in range(n_phases):
        n_filled += weights[bin_] > 0.0
        binned[bin_] /= (weights[bin_] + drawn / max(n, 1)) * scatter
    return n_filled / n_phases


@fused_kernel
def _put_left_over(value: FloatArray, turns: FloatArray, full: FloatArray, left_over: FloatArray) -> None:
    """Put what a series leaves of each epoch."""
    n_harmonics = len(full) // 2
    for epoch in range(len(value)):
        c, s = wave(turns[epoch])
        real, imaginary, rest = 1.0, 0.0, value[epoch] - full[0]
        for harmonic in range(1, n_harmonics + 1):
            real, imaginary = real * c - imaginary * s, real * s + imaginary * c
            rest -= full[harmonic] * real + full[n_harmonics + harmonic] * imaginary
        left_over[epoch] = rest
