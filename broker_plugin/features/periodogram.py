# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of the period search: Lomb-Scargle periodograms of a ragged batch.

A periodogram is the share of the weighted variance that a sinusoid with a free mean takes away, at each trial
frequency `(j + 1.5) / (3 span)` for samples of three to a peak. It follows from six sums over the epochs.
`power_directly` adds them up, epoch by epoch; `transform_kernels` has the other way.

Importing this takes a second of its own, for numba.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.wave_kernels import (
    COSINE,
    COSINE_STEP,
    ROOT,
    SINE,
    SINE_STEP,
    STATE,
    share,
    weigh,
)
from broker_plugin.kernels import fused_kernel, kernel

__all__ = ["BLOCK", "SUMS", "grids", "power_directly", "share_block"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Number = Any
"""A number of a kernel: numpy's in plain Python, 64 bits once compiled."""

BLOCK = 64
"""Frequencies that are summed together: the powers 0 to 63 of an epoch's turn are looked up, and multiplied
by that of the block. Sums and table (1 KB an epoch) stay in the cache."""

SUMS = 6
"""Sums over the epochs that a power follows from."""

VANISHING = 1e-13
"""Variance of a wave over the epochs below which there is none: a thousand times the rounding of its sums."""

UNROLLED = 4
"""Epochs of one step of the innermost loop, which is written out for them."""

RESEED_BLOCKS = 16
"""The turn of a block is that of the one before times a constant; so often it is computed from the time, so
that rounding errors cannot add up: 16 steps are 2e-15."""

TURN = 2.0 * math.pi


@kernel
def grids(
    starts: IntArray,
    stops: IntArray,
    age_day: FloatArray,
    deviation: FloatArray,
    samples_per_peak: Number,
    max_frequency: Number,
    min_frequencies: Number,
) -> tuple[FloatArray, IntArray]:
    """Return span and number of trial frequencies of each light curve, 0 where it has no span or is flat."""
    span = np.zeros(len(starts))
    n_frequencies = np.zeros(len(starts), np.int64)
    for part in range(len(starts)):
        ages, values = age_day[starts[part] : stops[part]], deviation[starts[part] : stops[part]]
        (youngest, oldest), (least, most) = _extremes(ages), _extremes(values)
        if not (oldest > youngest and most > least):
            continue
        span[part] = oldest - youngest
        step = 1.0 / (samples_per_peak * span[part])
        n_frequencies[part] = max(min_frequencies, int(max_frequency / step))
    return span, n_frequencies


@kernel
def _extremes(values: FloatArray) -> tuple[Number, Number]:
    """Return the least and the largest of some numbers."""
    least, largest = math.inf, -math.inf
    for value in values:
        least, largest = min(least, value), max(largest, value)
    return least, largest


@fused_kernel
def power_directly(
    chosen: IntArray,
    starts: IntArray,
    stops: IntArray,
    age_day: FloatArray,
    deviation: FloatArray,
    error: FloatArray,
    span: FloatArray,
    places: IntArray,
    samples_per_peak: Number,
    power: FloatArray,
) -> None:
    """Put the periodograms of the chosen light curves behind one another into `power`, by adding up.

    Parameters
    ----------
    places
        Where each begins and the last ends; all of them are multiples of BLOCK.
    """
    longest = 0
    for part in chosen:
        longest = max(longest, stops[part] - starts[part])
    room = (longest + UNROLLED - 1) // UNROLLED * UNROLLED
    table = np.empty(room * 2 * BLOCK)
    state = np.empty((room, STATE))
    time_day = np.empty(room)
    value = np.empty(room)
    sums = np.empty(SUMS * BLOCK)
    for order in range(len(chosen)):
        part = chosen[order]
        start, stop = starts[part], stops[part]
        n = stop - start
        _, oldest = _extremes(age_day[start:stop])
        for epoch in range(n):
            time_day[epoch] = oldest - age_day[start + epoch]
        variance = weigh(deviation[start:stop], error[start:stop], state, value)
        step = 1.0 / (samples_per_peak * span[part])
        whole = power[places[order] : places[order + 1]]
        _periodogram(time_day[:n], variance, 0.5 / span[part], step, table, state, sums, whole)


@fused_kernel
def _tabulate(turns: Number, row: FloatArray) -> tuple[Number, Number]:
    """Put the powers 0 to BLOCK - 1 of an epoch's turn by one trial frequency; return the next power."""
    angle = TURN * (turns - math.floor(turns))
    cosine, sine = math.cos(angle), math.sin(angle)
    row[0], row[BLOCK] = 1.0, 0.0
    known = 1
    while known < BLOCK:
        low, high = row[:BLOCK], row[BLOCK:]
        for power in range(known):
            real = cosine * low[power] - sine * high[power]
            imaginary = cosine * high[power] + sine * low[power]
            low[known + power], high[known + power] = real, imaginary
        cosine, sine = cosine * cosine - sine * sine, 2.0 * cosine * sine
        known *= 2
    return cosine, sine


@fused_kernel
def _periodogram(
    time_day: FloatArray,
    variance: Number,
    lowest: Number,
    step: Number,
    table: FloatArray,
    state: FloatArray,
    sums: FloatArray,
    power: FloatArray,
) -> None:
    """Put the periodogram at `lowest + j * step` for all of `power`, whose length is a multiple of BLOCK."""
    n = len(time_day)
    padded = (n + UNROLLED - 1) // UNROLLED * UNROLLED
    for epoch in range(n):
        row = table[epoch * 2 * BLOCK : (epoch + 1) * 2 * BLOCK]
        state[epoch, COSINE_STEP], state[epoch, SINE_STEP] = _tabulate(step * time_day[epoch], row)
    for epoch in range(n, padded):
        for place in range(2 * BLOCK):
            table[epoch * 2 * BLOCK + place] = 0.0
        for column in range(STATE):
            state[epoch, column] = 0.0
    for block in range(len(power) // BLOCK):
        if block % RESEED_BLOCKS == 0:
            for epoch in range(n):
                turns = (lowest + block * BLOCK * step) * time_day[epoch]
                angle = TURN * (turns - math.floor(turns))
                state[epoch, COSINE] = state[epoch, ROOT] * math.cos(angle)
                state[epoch, SINE] = state[epoch, ROOT] * math.sin(angle)
        _sum_block(padded, table, state, sums)
        for epoch in range(n):
            cosine, sine = state[epoch, COSINE], state[epoch, SINE]
            state[epoch, COSINE] = cosine * state[epoch, COSINE_STEP] - sine * state[epoch, SINE_STEP]
            state[epoch, SINE] = cosine * state[epoch, SINE_STEP] + sine * state[epoch, COSINE_STEP]
        share_block(sums, variance, VANISHING, power[block * BLOCK : (block + 1) * BLOCK])


@fused_kernel
def _sum_block(n: Number, table: FloatArray, state: FloatArray, sums: FloatArray) -> None:
    """Add up the six sums of a block of frequencies over all epochs.

    With weights w, values y and phases p: w cos p, w sin p, w y cos p, w y sin p, w cos^2 p, w cos p sin p.
    """
    for place in range(len(sums)):
        sums[place] = 0.0
    for epoch in range(0, n, UNROLLED):
        row = table[epoch * 2 * BLOCK : (epoch + UNROLLED) * 2 * BLOCK]
        c0, s0, w0, y0 = state[epoch, 0], state[epoch, 1], state[epoch, 2], state[epoch, 3]
        c1, s1, w1, y1 = state[epoch + 1, 0], state[epoch + 1, 1], state[epoch + 1, 2], state[epoch + 1, 3]
        c2, s2, w2, y2 = state[epoch + 2, 0], state[epoch + 2, 1], state[epoch + 2, 2], state[epoch + 2, 3]
        c3, s3, w3, y3 = state[epoch + 3, 0], state[epoch + 3, 1], state[epoch + 3, 2], state[epoch + 3, 3]
        for j in range(BLOCK):
            # Cosine and sine of the phase, times the root of the weight.
            a0 = c0 * row[j] - s0 * row[BLOCK + j]
            b0 = c0 * row[BLOCK + j] + s0 * row[j]
            a1 = c1 * row[2 * BLOCK + j] - s1 * row[3 * BLOCK + j]
            b1 = c1 * row[3 * BLOCK + j] + s1 * row[2 * BLOCK + j]
            a2 = c2 * row[4 * BLOCK + j] - s2 * row[5 * BLOCK + j]
            b2 = c2 * row[5 * BLOCK + j] + s2 * row[4 * BLOCK + j]
            a3 = c3 * row[6 * BLOCK + j] - s3 * row[7 * BLOCK + j]
            b3 = c3 * row[7 * BLOCK + j] + s3 * row[6 * BLOCK + j]
            sums[j] += w0 * a0 + w1 * a1 + w2 * a2 + w3 * a3
            sums[BLOCK + j] += w0 * b0 + w1 * b1 + w2 * b2 + w3 * b3
            sums[2 * BLOCK + j] += y0 * a0 + y1 * a1 + y2 * a2 + y3 * a3
            sums[3 * BLOCK + j] += y0 * b0 + y1 * b1 + y2 * b2 + y3 * b3
            sums[4 * BLOCK + j] += a0 * a0 + a1 * a1 + a2 * a2 + a3 * a3
            sums[5 * BLOCK + j] += a0 * b0 + a1 * b1 + a2 * b2 + a3 * b3


@fused_kernel
def share_block(sums: FloatArray, variance: Number, vanishing: Number, power: FloatArray) -> None:
    """Put the powers of a block of frequencies, whose six sums are known; see `_sum_block` and `share`."""
    for j in range(BLOCK):
        power[j] = share(
            sums[j],
            sums[BLOCK + j],
            sums[2 * BLOCK + j],
            sums[3 * BLOCK + j],
            sums[4 * BLOCK + j],
            sums[5 * BLOCK + j],
            variance,
            vanishing,
        )
