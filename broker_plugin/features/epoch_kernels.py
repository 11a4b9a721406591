# SPDX-License-Identifier: BSD-3-Clause
"""Kernels over the epochs of a batch: how far each is from the usual of its band.

An alert is worked on by itself, in buffers that the next one uses again. Importing this takes a second of its
own, for numba.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.kernels import kernel
from broker_plugin.ordering import median

__all__ = ["deviate", "standardise"]

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Number = Any
"""A number of a kernel: numpy's in plain Python, 64 bits once compiled."""

MAG_PER_UNIT = 2.5 / math.log(10)
"""Magnitudes in a factor e of flux."""

KEYS = 512
"""Room for the groups of an alert: a band is a byte, and flux of two kinds."""


@kernel
def deviate(
    offsets: IntArray,
    flux: Float32Array,
    flux_err: Float32Array,
    band: NDArray[np.int8],
    apparent: BoolArray,
    flux_floor: Number,
    deviation: FloatArray,
    error: FloatArray,
    group: IntArray,
    size: FloatArray,
    spread: FloatArray,
) -> None:
    """Put the deviation of each epoch from its band's median, its error, and its group within the alert.

    Difference flux counts from zero, in units of the alert's typical one. Of each alert, `size` and `spread`
    are given the medians of the absolute deviations and of the errors.
    """
    keys, buffer = np.empty(KEYS, np.int64), np.empty(_longest(offsets))
    for alert in range(len(offsets) - 1):
        begin, end = offsets[alert], offsets[alert + 1]
        if begin == end:
            continue
        faint, noise, mine, known = (
            deviation[begin:end],
            error[begin:end],
            group[begin:end],
            apparent[begin:end],
        )
        n_groups = _number_groups(band[begin:end], known, mine, keys)
        _put_faintness(
            flux[begin:end], flux_err[begin:end], known, flux_floor, mine, n_groups, faint, noise, buffer
        )
        typical = _typical_difference(faint, noise, known, buffer)
        for number in range(n_groups):
            level = 0.0
            if keys[number] % 2 == 1:
                level = _group_median(faint, mine, number, False, buffer)
            for epoch in range(end - begin):
                if mine[epoch] != number:
                    continue
                if known[epoch]:
                    faint[epoch] -= level
                else:
                    faint[epoch], noise[epoch] = faint[epoch] / typical, noise[epoch] / typical
        for epoch in range(end - begin):
            buffer[epoch] = abs(faint[epoch])
        size[alert] = median(buffer[: end - begin])
        for epoch in range(end - begin):
            buffer[epoch] = noise[epoch]
        spread[alert] = median(buffer[: end - begin])


@kernel
def _typical_difference(
    faint: FloatArray, noise: FloatArray, apparent: BoolArray, buffer: FloatArray
) -> Number:
    """Return the larger of the medians of the difference fluxes' sizes and errors, 1 where there is none."""
    typical = 0.0
    for values in (faint, noise):
        n = 0
        for epoch in range(len(values)):
            if not apparent[epoch]:
                buffer[n] = abs(values[epoch])
                n += 1
        typical = max(typical, median(buffer[:n]))
    return typical if typical > 0.0 else 1.0


@kernel
def standardise(
    offsets: IntArray,
    mjd_alert: FloatArray,
    mjd: FloatArray,
    flux: Float32Array,
    flux_err: Float32Array,
    band: NDArray[np.int8],
    apparent: BoolArray,
    flux_floor: Number,
    mad_to_sigma: Number,
    window_day: Number,
    min_epochs: Number,
    min_band_epochs: Number,
    error_floor: Number,
    clip: Number,
    row: IntArray,
    age_day: FloatArray,
    deviation: FloatArray,
    error: FloatArray,
) -> Number:
    """Put the epochs that are searched into the last four columns, and return how many there are.

    Deviations from each band's median, and their errors, are in units of the band's scatter.
    """
    longest = _longest(offsets)
    keys, count, mine = np.empty(KEYS, np.int64), np.empty(KEYS, np.int64), np.empty(longest, np.int64)
    kept, buffer = np.empty(longest, np.int64), np.empty(longest)
    fluxes, errors = np.empty(longest, np.float32), np.empty(longest, np.float32)
    bands, known = np.empty(longest, np.int8), np.empty(longest, np.bool_)
    total = 0
    for alert in range(len(offsets) - 1):
        n = 0
        for epoch in range(offsets[alert], offsets[alert + 1]):
            if 0.0 <= mjd_alert[alert] - mjd[epoch] <= window_day:
                kept[n], bands[n], known[n] = epoch, band[epoch], apparent[epoch]
                n += 1
        if n < min_epochs:
            continue
        n_groups = _number_groups(bands[:n], known[:n], mine, keys)
        n = _drop_small_groups(kept[:n], mine, n_groups, min_band_epochs, count)
        if n < min_epochs:
            continue
        for place in range(n):
            epoch = kept[place]
            fluxes[place], errors[place] = flux[epoch], flux_err[epoch]
            bands[place], known[place] = band[epoch], apparent[epoch]
            row[total + place], age_day[total + place] = alert, mjd_alert[alert] - mjd[epoch]
        faint, noise, group = deviation[total : total + n], error[total : total + n], mine[:n]
        n_groups = _number_groups(bands[:n], known[:n], group, keys)
        _put_faintness(fluxes[:n], errors[:n], known[:n], flux_floor, group, n_groups, faint, noise, buffer)
        for number in range(n_groups):
            level = _group_median(faint, group, number, False, buffer)
            for epoch in range(n):
                if group[epoch] == number:
                    faint[epoch] -= level
            scatter = mad_to_sigma * _group_median(faint, group, number, True, buffer)
            scale = max(scatter, _group_median(noise, group, number, False, buffer))
            if not scale > 0.0:
                scale = 1.0
            for epoch in range(n):
                if group[epoch] == number:
                    faint[epoch] = min(max(faint[epoch] / scale, -clip), clip)
                    noise[epoch] = min(math.hypot(noise[epoch] / scale, error_floor), clip)
        total += n
    return total


@kernel
def _drop_small_groups(
    kept: IntArray, group: IntArray, n_groups: Number, min_band_epochs: Number, count: IntArray
) -> Number:
    """Leave out the epochs of groups with too few, and return how many epochs are left."""
    for number in range(n_groups):
        count[number] = 0
    for place in range(len(kept)):
        count[group[place]] += 1
    n = 0
    for place in range(len(kept)):
        if count[group[place]] >= min_band_epochs:
            kept[n] = kept[place]
            n += 1
    return n


@kernel
def _longest(offsets: IntArray) -> Number:
    longest = 0
    for alert in range(len(offsets) - 1):
        longest = max(longest, offsets[alert + 1] - offsets[alert])
    return longest


@kernel
def _number_groups(band: NDArray[np.int8], apparent: BoolArray, group: IntArray, keys: IntArray) -> Number:
    """Give the epochs of one band and kind of flux a number of their own; return how many there are."""
    n_groups = 0
    for epoch in range(len(band)):
        key = 2 * np.int64(band[epoch]) + np.int64(apparent[epoch])
        number = 0
        while number < n_groups and keys[number] != key:
            number += 1
        if number == n_groups:
            keys[number] = key
            n_groups += 1
        group[epoch] = number
    return n_groups


@kernel
def _put_faintness(
    flux: Float32Array,
    flux_err: Float32Array,
    apparent: BoolArray,
    flux_floor: Number,
    group: IntArray,
    n_groups: Number,
    faint: FloatArray,
    noise: FloatArray,
    buffer: FloatArray,
) -> None:
    """Put how faint each epoch is and the error of that: magnitudes, or nJy for difference flux.

    The median error of a group softens its magnitudes.
    """
    for epoch in range(len(flux)):
        noise[epoch] = max(abs(np.float64(flux_err[epoch])), flux_floor)
    for number in range(n_groups):
        softening = 2.0 * _group_median(noise, group, number, False, buffer)
        for epoch in range(len(flux)):
            if group[epoch] != number:
                continue
            here = np.float64(flux[epoch])
            if apparent[epoch]:
                faint[epoch] = -MAG_PER_UNIT * math.asinh(here / softening)
                noise[epoch] = MAG_PER_UNIT * noise[epoch] / math.hypot(here, softening)
            else:
                faint[epoch] = -here


@kernel
def _group_median(
    values: FloatArray, group: IntArray, number: Number, absolute: bool, buffer: FloatArray
) -> Number:
    n = 0
    for epoch in range(len(values)):
        if group[epoch] == number:
            buffer[n] = abs(values[epoch]) if absolute else values[epoch]
            n += 1
    return median(buffer[:n])
