# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of the period search: the strongest peaks of periodograms, and how likely noise is to make them.

Importing this takes a second of its own, for numba.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.kernels import kernel

__all__ = ["find_peaks"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Number = Any
"""A number of a kernel: numpy's in plain Python, 64 bits once compiled."""

CONTENDERS = 32
"""Local maxima that are kept. Each peak has at most two others within a resolution element, so six separate
ones are among the 16 highest."""


@kernel
def find_peaks(
    chosen: IntArray,
    starts: IntArray,
    stops: IntArray,
    age_day: FloatArray,
    span: FloatArray,
    n_frequencies: IntArray,
    places: IntArray,
    power: FloatArray,
    samples_per_peak: Number,
    max_frequency: Number,
    edges: FloatArray,
    frequency: FloatArray,
    height: FloatArray,
    spectrum: FloatArray,
    chance: FloatArray,
) -> None:
    """Fill in the rows of the last four for the chosen light curves, whose periodograms begin at `places`.

    Parameters
    ----------
    edges
        Frequencies between the bins of `spectrum`, rising.
    frequency, height
        Are given the peaks in falling order, each more than `samples_per_peak` steps from a stronger one;
        what is left over stays as it is.
    spectrum
        Is given the highest power in each bin; what holds no trial frequency stays as it is.
    chance
        Is given the false-alarm probability of the strongest peak.
    """
    for order in range(len(chosen)):
        part = chosen[order]
        heights = power[places[order] : places[order] + n_frequencies[part]]
        _bound(heights)
        lowest, step = 0.5 / span[part], 1.0 / (samples_per_peak * span[part])
        if not _separate_peaks(heights, lowest, step, samples_per_peak, frequency[part], height[part]):
            continue
        _bin(heights, lowest, step, edges, spectrum[part])
        ages = age_day[starts[part] : stops[part]]
        bandwidth = max_frequency * math.sqrt(4.0 * math.pi * _variance(ages))
        chance[part] = _false_alarm_probability(height[part, 0], len(ages), bandwidth)


@kernel
def _variance(values: FloatArray) -> Number:
    mean = square = 0.0
    for value in values:
        mean += value / len(values)
    for value in values:
        square += (value - mean) * (value - mean)
    return square / len(values)


@kernel
def _bound(power: FloatArray) -> None:
    """Make what is no number, or is infinite, 0, and bring the rest between 0 and 1."""
    for j in range(len(power)):
        if not 0.0 <= power[j] < math.inf:
            power[j] = 0.0
        elif power[j] > 1.0:
            power[j] = 1.0


@kernel
def _separate_peaks(
    power: FloatArray,
    lowest: Number,
    step: Number,
    samples_per_peak: Number,
    frequency: FloatArray,
    height: FloatArray,
) -> Number:
    """Put the strongest local maxima that are separate, and return how many there are."""
    place = np.empty(CONTENDERS, np.int64)
    chosen = np.empty(len(frequency), np.int64)
    n_peaks = 0
    for rank in range(_contenders(power, place)):
        candidate = place[rank]
        is_separate = n_peaks < len(chosen)
        for earlier in range(n_peaks):
            if abs(candidate - chosen[earlier]) <= samples_per_peak:
                is_separate = False
        if is_separate:
            chosen[n_peaks] = candidate
            frequency[n_peaks] = lowest + step * _vertex(power, candidate)
            height[n_peaks] = power[candidate]
            n_peaks += 1
    return n_peaks


@kernel
def _contenders(power: FloatArray, place: IntArray) -> Number:
    """Put the places of the highest local maxima in falling order, the earlier first of two of a height."""
    n, n_places, least = len(power), 0, 0.0
    for j in range(n):
        here = power[j]
        if here <= least or (j > 0 and power[j - 1] >= here) or (j + 1 < n and power[j + 1] > here):
            continue
        rank = min(n_places, len(place) - 1)
        while rank > 0 and power[place[rank - 1]] < here:
            place[rank] = place[rank - 1]
            rank -= 1
        place[rank] = j
        n_places = min(n_places + 1, len(place))
        if n_places == len(place):
            least = power[place[n_places - 1]]
    return n_places


@kernel
def _vertex(power: FloatArray, peak: Number) -> Number:
    """Return the vertex of the parabola through a peak and its neighbours, as a fraction of the grid."""
    if not 0 < peak < len(power) - 1:
        return float(peak)
    before, top, after = power[peak - 1], power[peak], power[peak + 1]
    curvature = before - 2.0 * top + after
    return float(peak) if curvature == 0.0 else peak + 0.5 * (before - after) / curvature


@kernel
def _bin(power: FloatArray, lowest: Number, step: Number, edges: FloatArray, spectrum: FloatArray) -> None:
    """Put the highest power between edges that hold a trial frequency."""
    first = _ceiling((edges[0] - lowest) / step, len(power))
    for bin_ in range(len(spectrum)):
        last = _ceiling((edges[bin_ + 1] - lowest) / step, len(power))
        if last > first:
            spectrum[bin_] = _highest(power[first:last])
        first = last


@kernel
def _ceiling(position: Number, n: Number) -> Number:
    if not position > 0.0:
        return 0
    return n if position >= n else math.ceil(position)


@kernel
def _highest(power: FloatArray) -> Number:
    """Return the largest of some numbers that are not below 0; four at a time are faster than one."""
    a = b = c = d = 0.0
    n = len(power) // 4 * 4
    for j in range(0, n, 4):
        a, b, c, d = max(a, power[j]), max(b, power[j + 1]), max(c, power[j + 2]), max(d, power[j + 3])
    for j in range(n, len(power)):
        a = max(a, power[j])
    return max(max(a, b), max(c, d))


@kernel
def _false_alarm_probability(power: Number, n: Number, bandwidth: Number) -> Number:
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
    return min(1.0, max(0.0, -math.expm1(math.log1p(-single) - tau)))
