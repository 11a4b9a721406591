# SPDX-License-Identifier: BSD-3-Clause
"""Kernels that fit Fourier series to folded light curves.

Importing this takes a second of its own, for numba.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.kernels import fused_kernel, kernel

__all__ = ["LANES", "TINY", "add_up", "put_equations", "share_left", "wave"]

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
def add_up(
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
def put_equations(
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
def share_left(
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
