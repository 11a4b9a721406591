# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of the non-uniform transforms: epochs onto even grids, and the grids' modes to periodograms.

Importing this takes a second of its own, for numba.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.periodogram import BLOCK, SUMS, share_block
from broker_plugin.features.series_kernels import wave
from broker_plugin.features.spreading_window import DEGREE, SUPPORT, WINDOW
from broker_plugin.features.wave_kernels import ROOT, SCALED, STATE, weigh
from broker_plugin.kernels import fused_kernel

__all__ = ["power_of_values", "spread_values", "spread_weights", "sums_of_weights"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
ComplexArray = NDArray[np.complex128]
Number = Any
"""A number of a kernel: numpy's in plain Python, 64 bits once compiled."""

HALF = SUPPORT // 2

VANISHING = 1e-6
"""Variance of a wave over the epochs below which there is none: a thousand times the precision of its sums.
One night of a hundred epochs and one of years before leave waves that vary by less; the transforms would make
up what adding up knows of them."""


@fused_kernel
def spread_weights(
    chosen: IntArray,
    starts: IntArray,
    stops: IntArray,
    age_day: FloatArray,
    deviation: FloatArray,
    error: FloatArray,
    span: FloatArray,
    samples_per_peak: Number,
    size: Number,
    single: ComplexArray,
    double: ComplexArray,
) -> None:
    """Put the weights of the chosen light curves on grids, a row each; on `double` at twice the phase."""
    state, value, place, turn, source = _room(chosen, starts, stops)
    for row in range(len(chosen)):
        part = chosen[row]
        begin, n = starts[part], stops[part] - starts[part]
        weigh(deviation[begin : begin + n], error[begin : begin + n], state, value)
        _turn(age_day[begin : begin + n], samples_per_peak * span[part], size, single.shape[1], place, turn)
        for epoch in range(n):
            source[epoch] = state[epoch, ROOT] * state[epoch, ROOT] * turn[epoch]
        _spread(place[:n], source, single[row])
        for epoch in range(n):
            place[epoch] *= 2.0
            source[epoch] *= turn[epoch]
        _spread(place[:n], source, double[row])


@fused_kernel
def spread_values(
    chosen: IntArray,
    starts: IntArray,
    stops: IntArray,
    age_day: FloatArray,
    deviation: FloatArray,
    error: FloatArray,
    span: FloatArray,
    samples_per_peak: Number,
    size: Number,
    grid: ComplexArray,
    variance: FloatArray,
) -> None:
    """Put the weighted values of the chosen light curves on grids, a row each, and their variances."""
    state, value, place, turn, source = _room(chosen, starts, stops)
    for row in range(len(chosen)):
        part = chosen[row]
        begin, n = starts[part], stops[part] - starts[part]
        variance[row] = weigh(deviation[begin : begin + n], error[begin : begin + n], state, value)
        _turn(age_day[begin : begin + n], samples_per_peak * span[part], size, grid.shape[1], place, turn)
        for epoch in range(n):
            source[epoch] = state[epoch, ROOT] * state[epoch, SCALED] * turn[epoch]
        _spread(place[:n], source, grid[row])


@fused_kernel
def _room(
    chosen: IntArray, starts: IntArray, stops: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray, ComplexArray, ComplexArray]:
    n = 0
    for part in chosen:
        n = max(n, stops[part] - starts[part])
    turn, source = np.empty(n, np.complex128), np.empty(n, np.complex128)
    return np.empty((n, STATE)), np.empty(n), np.empty(n), turn, source


@fused_kernel
def _turn(
    age_day: FloatArray,
    period_day: Number,
    size: Number,
    n_cells: Number,
    place: FloatArray,
    turn: ComplexArray,
) -> None:
    """Put each epoch's place on the grid, and its turn by the middle frequency, that of number `size // 2`.

    All are put half a window later, so that none reaches over the edge: powers do not change with it.
    """
    middle = size // 2 + 1.5
    oldest = -math.inf
    for age in age_day:
        oldest = max(oldest, age)
    for epoch in range(len(age_day)):
        turns = (oldest - age_day[epoch]) / period_day + HALF / n_cells
        place[epoch] = turns * n_cells
        turns *= middle
        cosine, sine = wave(turns - math.floor(turns))
        turn[epoch] = complex(cosine, sine)


@fused_kernel
def _spread(place: FloatArray, source: ComplexArray, cells: ComplexArray) -> None:
    window = np.empty(SUPPORT)
    cells[:] = 0.0
    for epoch in range(len(place)):
        first = math.ceil(place[epoch]) - HALF
        offset = first + HALF - place[epoch]
        for cell in range(SUPPORT):
            height = WINDOW[DEGREE, cell]
            for power in range(DEGREE - 1, -1, -1):
                height = height * offset + WINDOW[power, cell]
            window[cell] = height
        reached, strength = cells[first : first + SUPPORT], source[epoch]
        for cell in range(len(window)):
            reached[cell] += strength * window[cell]


@fused_kernel
def sums_of_weights(
    single: ComplexArray, double: ComplexArray, undamped: FloatArray, sums: FloatArray
) -> None:
    """Put the sums of weights times cosine, sine, squared cosine, and cosine times sine; shape (P, 4, n).

    Parameters
    ----------
    single, double
        Fourier transforms of the grids of `spread_weights`.
    undamped
        What undoes the damping by the window.
    """
    n, n_cells = sums.shape[2], single.shape[1]
    for row in range(len(sums)):
        for j in range(n):
            mode = n // 2 - j
            cell = mode if mode >= 0 else n_cells + mode
            once, twice = undamped[abs(mode)] * single[row, cell], undamped[abs(mode)] * double[row, cell]
            sums[row, 0, j], sums[row, 1, j] = once.real, once.imag
            sums[row, 2, j], sums[row, 3, j] = 0.5 + 0.5 * twice.real, 0.5 * twice.imag


@fused_kernel
def power_of_values(
    grid: ComplexArray,
    of_weights: FloatArray,
    undamped: FloatArray,
    variance: FloatArray,
    places: IntArray,
    n_frequencies: IntArray,
    power: FloatArray,
) -> None:
    """Put the periodogram of each row at its place.

    Parameters
    ----------
    grid
        Fourier transforms of the grids of `spread_values`.
    of_weights
        What `sums_of_weights` put.
    places, n_frequencies
        Where each periodogram begins, and how many frequencies it has; room is made for whole blocks.
    """
    size, n_cells = of_weights.shape[2], grid.shape[1]
    sums = np.empty(SUMS * BLOCK)
    for row in range(len(variance)):
        for begin in range(0, n_frequencies[row], BLOCK):
            for place in range(BLOCK):
                j = min(begin + place, size - 1)
                mode = size // 2 - j
                value = undamped[abs(mode)] * grid[row, mode if mode >= 0 else n_cells + mode]
                sums[2 * BLOCK + place], sums[3 * BLOCK + place] = value.real, value.imag
                for number in range(2):
                    sums[number * BLOCK + place] = of_weights[row, number, j]
                    sums[(4 + number) * BLOCK + place] = of_weights[row, 2 + number, j]
            block = power[places[row] + begin : places[row] + begin + BLOCK]
            share_block(sums, variance[row], VANISHING, block)
