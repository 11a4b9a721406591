# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of the statistics of light curves; `variability` says what the columns are.

An alert is worked on by itself, in buffers that the next one uses again. Importing this takes a second of its
own, for numba.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.night_kernels import put_nights, put_pace, put_trends
from broker_plugin.features.order_kernels import count_nights, log, mean_std, put_in_order
from broker_plugin.kernels import kernel
from broker_plugin.ordering import sort

__all__ = ["describe"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Number = Any
"""A number of a kernel: numpy's in plain Python, 64 bits once compiled."""

SCALE_FLOOR = 1e-4
"""Least scatter that deviations are divided by, a tenth of the precision of the surveys."""


@kernel
def describe(
    offsets: IntArray,
    mjd_alert: FloatArray,
    mjd: FloatArray,
    deviation: FloatArray,
    error: FloatArray,
    group: IntArray,
    size: FloatArray,
    spread: FloatArray,
    band: NDArray[np.int8],
    apparent: BoolArray,
    forced: BoolArray,
    quantiles: FloatArray,
    mad_to_sigma: Number,
    least: Number,
    max_age_day: Number,
    same_night_day: Number,
    fastest_day: Number,
    trend_epochs: Number,
    bound: Number,
    columns: FloatArray,
) -> None:
    """Put the columns of each alert that has epochs; the scalars are the constants of `variability`."""
    longest = 0
    for alert in range(len(offsets) - 1):
        longest = max(longest, offsets[alert + 1] - offsets[alert])
    ages, buffer = np.empty(longest), np.empty(longest)
    by_time, by_group = np.empty(longest, np.int64), np.empty(longest, np.int64)
    together = np.zeros(longest, np.int64)
    for alert in range(len(offsets) - 1):
        begin, end = offsets[alert], offsets[alert + 1]
        n = end - begin
        if n == 0:
            continue
        age_day, values = ages[:n], columns[alert]
        for epoch in range(n):
            age_day[epoch] = min(max(mjd_alert[alert] - mjd[begin + epoch], 0.0), max_age_day)
        dev, err, mine = deviation[begin:end], error[begin:end], group[begin:end]
        put_in_order(age_day, together[:n], by_time[:n])
        put_in_order(age_day, mine, by_group[:n])
        values[0] = math.log10(n)
        values[1] = math.log10(1e-3 + age_day[by_time[0]] - age_day[by_time[n - 1]])
        values[2] = math.log10(count_nights(age_day, by_time[:n]))
        values[3] = _count(apparent[begin:end]) / n
        values[4] = _count(forced[begin:end]) / n
        values[5] = math.log10(_count_bands(band[begin:end]))
        mad = mad_to_sigma * size[alert]
        scale, std = _put_spread(dev, err, mad, spread[alert], quantiles, least, buffer[:n], values[6:26])
        # The deviations are in the buffer, from the brightest to the faintest.
        values[33] = math.asinh(buffer[n - 1] / scale)
        values[34] = math.asinh(-buffer[0] / scale)
        put_pace(
            dev, age_day, mine, by_group[:n], std, least, same_night_day, fastest_day, buffer, values[26:33]
        )
        put_trends(dev, err, age_day, by_time[:n], trend_epochs, least, buffer, values[35:40])
        _put_ends(dev, err, age_day, scale, least, same_night_day, values[40:45])
        put_nights(dev, err, age_day, mine, by_group[:n], scale, least, values[45:48])
        for column in range(len(values)):
            if math.isnan(values[column]):
                values[column] = 0.0
            values[column] = min(max(values[column], -bound), bound)


@kernel
def _count_bands(band: NDArray[np.int8]) -> Number:
    seen = np.zeros(256, np.bool_)
    for epoch in range(len(band)):
        seen[np.int64(band[epoch]) + 128] = True
    return _count(seen)


@kernel
def _count(flags: BoolArray) -> Number:
    n = 0
    for flag in flags:
        n += flag
    return n


@kernel
def _put_spread(
    deviation: FloatArray,
    error: FloatArray,
    mad: Number,
    typical_error: Number,
    quantiles: FloatArray,
    least: Number,
    buffer: FloatArray,
    values: FloatArray,
) -> tuple[Number, Number]:
    """Put the columns of the distribution of the deviations; return their scale and standard deviation."""
    n = len(deviation)
    mean, std = mean_std(deviation)
    scale = max(max(mad, typical_error), SCALE_FLOOR)
    total, weighted = 0.0, 0.0
    for epoch in range(n):
        weight = 1.0 / max(error[epoch], least) ** 2
        total += weight
        weighted += weight * deviation[epoch]
    weighted /= max(total, 1e-12)
    chi_square = cube = fourth = 0.0
    beyond_error = beyond_two = faint = bright = 0
    for epoch in range(n):
        significance = (deviation[epoch] - weighted) / max(error[epoch], least)
        normal = (deviation[epoch] - mean) / max(std, least)
        scaled = deviation[epoch] / scale
        chi_square += significance * significance
        cube += normal * normal * normal
        fourth += normal * normal * normal * normal
        beyond_error += abs(significance) > 1.0
        beyond_two += abs(scaled) > 2.0
        faint += scaled > 1.0
        bright += scaled < -1.0
    for epoch in range(n):
        buffer[epoch] = deviation[epoch]
    sort(buffer)
    values[0] = log(typical_error, least)
    values[1] = log(std, least)
    values[2] = log(mad, least)
    values[3] = log(std / max(typical_error, least), least)
    values[4] = log(chi_square / n, least)
    values[5] = log(_quantile(buffer, 0.95) - _quantile(buffer, 0.05), least)
    for place in range(len(quantiles)):
        values[6 + place] = math.asinh(_quantile(buffer, quantiles[place]) / scale)
    values[14] = cube / n
    values[15] = math.log1p(fourth / n)
    values[16] = beyond_error / n
    values[17] = beyond_two / n
    values[18] = faint / n
    values[19] = bright / n
    return scale, std


@kernel
def _quantile(ordered: FloatArray, quantile: Number) -> Number:
    position = quantile * (len(ordered) - 1)
    lower = math.floor(position)
    upper = min(lower + 1, len(ordered) - 1)
    share = position - lower
    return (1.0 - share) * ordered[lower] + share * ordered[upper]


@kernel
def _put_ends(
    deviation: FloatArray,
    error: FloatArray,
    age_day: FloatArray,
    scale: Number,
    least: Number,
    same_night_day: Number,
    values: FloatArray,
) -> None:
    """Put where the light curve begins and ends, which is where an alert is raised."""
    n = len(deviation)
    size = square = tonight = before = 0.0
    n_tonight = 0
    for epoch in range(n):
        significance = deviation[epoch] / max(error[epoch], least)
        size += abs(significance)
        square += significance * significance
        if age_day[epoch] < same_night_day:
            tonight += deviation[epoch]
            n_tonight += 1
        else:
            before += deviation[epoch]
    change = tonight / max(n_tonight, 1) - before / max(n - n_tonight, 1)
    values[0] = size / n / max(math.sqrt(square / n), 1e-9)
    values[1] = math.asinh(deviation[n - 1] / scale)
    values[2] = math.asinh(deviation[0] / scale)
    values[3] = math.asinh(deviation[n - 1] / max(error[n - 1], least))
    values[4] = math.asinh(change / scale)
