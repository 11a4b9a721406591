# SPDX-License-Identifier: BSD-3-Clause
"""Kernels that fold light curves at trial frequencies and fit Fourier series to the folds.

Importing this takes a second of its own, for numba.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.kernels import fused_kernel, kernel

__all__ = ["fold_all"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Number = Any
"""A number of a kernel: numpy's in plain Python, 64 bits once compiled."""

LANES = 32
"""Epochs that are worked on side by side. With 16 the compiler writes them out one by one, at twice the cost
for long light curves; with 64 a ZTF alert's 15 epochs cost twice as much."""

TURN = 2.0 * math.pi

MEAN_PRIOR = 1e-9
"""Prior on the mean, in shares of all weight: next to none, but the equations stay regular without epochs."""

TINY = 1e-12
"""Least weight and variance that are divided by."""


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
            _add_up(weight[:n], value[:n], turns[:n], lanes, sums, of_weight, of_value)
            _put_equations(of_weight, of_value, matrix, target)
            for number in range(len(series)):
                result = full if number == 0 else solution
                left[fold, number] = _share_left(
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
def wave(turns: Number) -> tuple[Number, Number]:
    """Return cosine and sine of a phase between 0 and 1, to the last bit but one (Taylor).

    Unlike the functions of the C library it is worked out for several phases side by side.
    """
    quarter = math.floor(4.0 * turns + 0.5)
    angle = TURN * (turns - 0.25 * quarter)  # within an eighth of a turn
    x = angle * angle
    c = x * (1.0 / 20922789888000.0) - 1.0 / 87178291200.0
    c = x * (x * (x * c + 1.0 / 479001600.0) - 1.0 / 3628800.0) + 1.0 / 40320.0
    c = x * (x * (x * (x * c - 1.0 / 720.0) + 1.0 / 24.0) - 0.5) + 1.0
    s = x * (-1.0 / 1307674368000.0) + 1.0 / 6227020800.0
    s = x * (x * (x * s - 1.0 / 39916800.0) + 1.0 / 362880.0) - 1.0 / 5040.0
    s = angle * (x * (x * (x * s + 1.0 / 120.0) - 1.0 / 6.0) + 1.0)
    is_odd = quarter == 1.0 or quarter == 3.0
    cosine, sine = (s, c) if is_odd else (c, s)
    cosine = -cosine if quarter == 1.0 or quarter == 2.0 else cosine
    sine = -sine if quarter == 2.0 or quarter == 3.0 else sine
    return cosine, sine


@fused_kernel
def _add_up(
    weight: FloatArray,
    value: FloatArray,
    turns: FloatArray,
    lanes: FloatArray,
    sums: FloatArray,
    of_weight: NDArray[np.complex128],
    of_value: NDArray[np.complex128],
) -> None:
    """Put the sums of weights, and of weighted values, times the powers of each epoch's wave."""
    n_weights, n_values = len(of_weight), len(of_value)
    for place in range(len(sums)):
        sums[place] = 0.0
    lane_weight, lane_value = lanes[:LANES], lanes[LANES : 2 * LANES]
    cosine, sine = lanes[2 * LANES : 3 * LANES], lanes[3 * LANES : 4 * LANES]
    real, imaginary = lanes[4 * LANES : 5 * LANES], lanes[5 * LANES : 6 * LANES]
    lane_turns = lanes[6 * LANES : 7 * LANES]
    for begin in range(0, len(weight), LANES):
        for lane in range(LANES):
            is_there = begin + lane < len(weight)
            epoch = begin + lane if is_there else begin
            lane_weight[lane] = weight[epoch] if is_there else 0.0
            lane_value[lane] = lane_weight[lane] * value[epoch]
            lane_turns[lane] = turns[epoch]
            real[lane], imaginary[lane] = 1.0, 0.0
        for lane in range(LANES):
            cosine[lane], sine[lane] = wave(lane_turns[lane])
        for harmonic in range(n_weights):
            mine = sums[2 * harmonic * LANES : (2 * harmonic + 2) * LANES]
            for lane in range(LANES):
                mine[lane] += lane_weight[lane] * real[lane]
                mine[LANES + lane] += lane_weight[lane] * imaginary[lane]
            if harmonic < n_values:
                theirs = sums[2 * (n_weights + harmonic) * LANES : (2 * (n_weights + harmonic) + 2) * LANES]
                for lane in range(LANES):
                    theirs[lane] += lane_value[lane] * real[lane]
                    theirs[LANES + lane] += lane_value[lane] * imaginary[lane]
            for lane in range(LANES):
                turned = real[lane] * cosine[lane] - imaginary[lane] * sine[lane]
                imaginary[lane] = real[lane] * sine[lane] + imaginary[lane] * cosine[lane]
                real[lane] = turned
    for harmonic in range(n_weights):
        of_weight[harmonic] = _across(sums[2 * harmonic * LANES : (2 * harmonic + 2) * LANES])
    for harmonic in range(n_values):
        first = 2 * (n_weights + harmonic) * LANES
        of_value[harmonic] = _across(sums[first : first + 2 * LANES])


@kernel
def _across(sums: FloatArray) -> Number:
    real = imaginary = 0.0
    for lane in range(LANES):
        real += sums[lane]
        imaginary += sums[LANES + lane]
    return complex(real, imaginary)


@kernel
def _put_equations(
    of_weight: NDArray[np.complex128],
    of_value: NDArray[np.complex128],
    matrix: FloatArray,
    target: FloatArray,
) -> None:
    """Put the normal equations; the unknowns are the mean, the cosines and the sines.

    All sums of products of waves are sums of single waves of twice as many harmonics.
    """
    n = len(of_value) - 1
    for one in range(n + 1):
        target[one] = of_value[one].real
        if one > 0:
            target[n + one] = of_value[one].imag
        for other in range(n + 1):
            upper, lower = of_weight[one + other], of_weight[abs(one - other)]
            matrix[one, other] = 0.5 * (lower.real + upper.real)
            if other > 0:
                sign = 1.0 if one >= other else -1.0
                matrix[one, n + other] = 0.5 * (upper.imag - sign * lower.imag)
                matrix[n + other, one] = matrix[one, n + other]
                if one > 0:
                    matrix[n + one, n + other] = 0.5 * (lower.real - upper.real)


@fused_kernel
def _share_left(
    matrix: FloatArray,
    target: FloatArray,
    harmonics: IntArray,
    weight_sum: Number,
    variance: Number,
    n: Number,
    roughness: Number,
    prior_epochs: Number,
    solution: FloatArray,
) -> Number:
    """Put mean, cosines and sines of a series of some harmonics; return the share of variance it leaves."""
    n_harmonics = len(harmonics)
    n_wanted = 0
    while n_wanted < n_harmonics and harmonics[n_wanted] > 0:
        n_wanted += 1
    size = 2 * n_wanted + 1
    wanted, prior = np.zeros(size, np.int64), np.empty(size)
    prior[0] = MEAN_PRIOR * weight_sum
    for number in range(n_wanted):
        harmonic = harmonics[number]
        wanted[1 + number], wanted[1 + n_wanted + number] = harmonic, n_harmonics + harmonic
        prior[1 + number] = weight_sum * (roughness * harmonic * harmonic + prior_epochs / max(n, 1))
        prior[1 + n_wanted + number] = prior[1 + number]
    lower = np.empty((size, size))
    for one in range(size):
        for other in range(one + 1):
            lower[one, other] = matrix[wanted[one], wanted[other]]
        lower[one, one] += prior[one]
        solution[one] = target[wanted[one]]
    _solve(lower, solution)
    explained = 0.0
    for one in range(size):
        # By the equations, what the prior takes of the explained is once its weight times the square.
        explained += solution[one] * (target[wanted[one]] + prior[one] * solution[one])
    return min(max(1.0 - explained / max(variance, TINY), 0.0), 1.0)


@fused_kernel
def _solve(lower: FloatArray, right: FloatArray) -> None:
    """Solve symmetric equations, given as their lower half, in place (Cholesky)."""
    n = len(lower)
    for one in range(n):
        for other in range(one + 1):
            rest = lower[one, other]
            for k in range(other):
                rest -= lower[one, k] * lower[other, k]
            lower[one, other] = math.sqrt(rest) if one == other else rest / lower[other, other]
        rest = right[one]
        for k in range(one):
            rest -= lower[one, k] * right[k]
        right[one] = rest / lower[one, one]
    for one in range(n - 1, -1, -1):
        rest = right[one]
        for k in range(one + 1, n):
            rest -= lower[k, one] * right[k]
        right[one] = rest / lower[one, one]


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
