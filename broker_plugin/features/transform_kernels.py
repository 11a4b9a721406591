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
from broker_plugin.features.transforms import DEGREE, GRID_CELLS, SUPPORT, WINDOW
from broker_plugin.features.wave_kernels import (
    COSINE,
    COSINE_STEP,
    ROOT,
    SCALED,
    SINE,
    SINE_STEP,
    STATE,
    weigh,
)
from broker_plugin.kernels import fused_kernel

__all__ = ["power_of_grids", "spread"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
ComplexArray = NDArray[np.complex128]
Number = Any
"""A number of a kernel: numpy's in plain Python, 64 bits once compiled."""

HALF = SUPPORT // 2


@fused_kernel
def spread(
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
    variance: FloatArray,
) -> None:
    """Put the sources of the chosen light curves on the grids of `size`; see `transforms`.

    Parameters
    ----------
    single, double
        A row a light curve: the weighted values and, as their imaginary part, the weights; and the weights at
        twice the phase. Overwritten.
    variance
        Is given the weighted variances.
    """
    longest = 0
    for part in chosen:
        longest = max(longest, stops[part] - starts[part])
    place, state, value = np.empty(longest), np.empty((longest, STATE)), np.empty(longest)
    window = np.empty(SUPPORT)
    for row in range(len(chosen)):
        part = chosen[row]
        start, n = starts[part], stops[part] - starts[part]
        variance[row] = weigh(deviation[start : start + n], error[start : start + n], state, value)
        _place(age_day[start : start + n], samples_per_peak * span[part], size, place, state)
        singles, doubles = single[row], double[row]
        singles[:] = 0.0
        doubles[:] = 0.0
        for epoch in range(n):
            first = math.ceil(place[epoch]) - HALF
            offset = first + HALF - place[epoch]
            for cell in range(SUPPORT):
                height = WINDOW[DEGREE, cell]
                for power in range(DEGREE - 1, -1, -1):
                    height = height * offset + WINDOW[power, cell]
                window[cell] = height
            root, scaled = state[epoch, ROOT], state[epoch, SCALED]
            source = root * complex(scaled, root) * complex(state[epoch, COSINE], state[epoch, SINE])
            twice = root * root * complex(state[epoch, COSINE_STEP], state[epoch, SINE_STEP])
            some, others = singles[first : first + SUPPORT], doubles[first : first + SUPPORT]
            for cell in range(len(window)):
                some[cell] += source * window[cell]
            for cell in range(len(window)):
                others[cell] += twice * window[cell]


@fused_kernel
def _place(
    age_day: FloatArray, period_day: Number, size: Number, place: FloatArray, state: FloatArray
) -> None:
    """Put each epoch's place on the grid, and its turns: by half a step, and by twice the middle frequency.

    All are put half a window later, so that none reaches over the edge: powers do not change with it.
    """
    n_cells = float(GRID_CELLS * size)
    middle = 2.0 * (size // 2) + 3.0
    oldest = -math.inf
    for age in age_day:
        oldest = max(oldest, age)
    for epoch in range(len(age_day)):
        turns = (oldest - age_day[epoch]) / period_day + HALF / n_cells
        place[epoch] = turns * n_cells
        state[epoch, COSINE], state[epoch, SINE] = wave(0.5 * turns)
        turned = middle * turns
        state[epoch, COSINE_STEP], state[epoch, SINE_STEP] = wave(turned - math.floor(turned))


@fused_kernel
def power_of_grids(
    single: ComplexArray,
    double: ComplexArray,
    undamped: FloatArray,
    variance: FloatArray,
    places: IntArray,
    n_frequencies: IntArray,
    power: FloatArray,
) -> None:
    """Put the periodogram of each row at its place, from the Fourier transforms of its grids.

    Parameters
    ----------
    single, double
        What became of those of `spread`.
    undamped
        By mode of `single`, what undoes the damping by the window.
    places, n_frequencies
        Where each periodogram begins, and how many frequencies it has; room is made for whole blocks.
    """
    n_single, n_double = single.shape[1], double.shape[1]
    half = (len(undamped) - 2) // 2
    sums = np.empty(SUMS * BLOCK)
    for row in range(len(variance)):
        for block in range(0, n_frequencies[row], BLOCK):
            for place in range(BLOCK):
                # Frequency j is 1.5 + j steps, and sources begin at half a step.
                j = min(block + place, n_frequencies[row] - 1)
                above = single[row, n_single - 1 - j] * undamped[j + 1]
                below = single[row, j + 2] * undamped[j + 2]
                mode = half - j
                twice = double[row, mode if mode >= 0 else n_double + mode] * undamped[2 * abs(mode)]
                sums[place] = 0.5 * (above.imag + below.imag)
                sums[BLOCK + place] = 0.5 * (below.real - above.real)
                sums[2 * BLOCK + place] = 0.5 * (above.real + below.real)
                sums[3 * BLOCK + place] = 0.5 * (above.imag - below.imag)
                sums[4 * BLOCK + place] = 0.5 + 0.5 * twice.real
                sums[5 * BLOCK + place] = 0.5 * twice.imag
            share_block(sums, variance[row], power[places[row] + block : places[row] + block + BLOCK])
