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

from broker_plugin.kernels import kernel

__all__ = ["describe"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Number = Any
"""A number of a kernel: numpy's in plain Python, 64 bits once compiled."""

SCALE_FLOOR = 1e-4
"""Least scatter that deviations are divided by, a tenth of the precision of the surveys."""

NIGHT_ERROR_FLOOR = 1e-3
"""Least error of a night's line, the precision of the surveys."""


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
        _put_in_order(age_day, together[:n], by_time[:n])
        _put_in_order(age_day, mine, by_group[:n])
        values[0] = math.log10(n)
        values[1] = math.log10(1e-3 + age_day[by_time[0]] - age_day[by_time[n - 1]])
        values[2] = math.log10(_count_nights(age_day, by_time[:n]))
        values[3] = _count(apparent[begin:end]) / n
        values[4] = _count(forced[begin:end]) / n
        values[5] = math.log10(_count_bands(band[begin:end]))
        mad = mad_to_sigma * size[alert]
        scale, std = _put_spread(dev, err, mad, spread[alert], quantiles, least, buffer[:n], values[6:26])
        # The deviations are in the buffer, from the brightest to the faintest.
        values[33] = math.asinh(buffer[n - 1] / scale)
        values[34] = math.asinh(-buffer[0] / scale)
        _put_pace(
            dev, age_day, mine, by_group[:n], std, least, same_night_day, fastest_day, buffer, values[26:33]
        )
        _put_trends(dev, err, age_day, by_time[:n], trend_epochs, least, buffer, values[35:40])
        _put_ends(dev, err, age_day, scale, least, same_night_day, values[40:45])
        _put_nights(dev, err, age_day, mine, by_group[:n], scale, least, values[45:48])
        for column in range(len(values)):
            if math.isnan(values[column]):
                values[column] = 0.0
            values[column] = min(max(values[column], -bound), bound)


@kernel
def _put_in_order(age_day: FloatArray, group: IntArray, order: IntArray) -> None:
    """Put the epochs group by group, in each from the oldest to the youngest."""
    n_groups = 0
    for epoch in range(len(group)):
        n_groups = max(n_groups, group[epoch] + 1)
    n = 0
    for number in range(n_groups):
        begin, is_sorted = n, True
        for epoch in range(len(age_day)):
            if group[epoch] == number:
                is_sorted = is_sorted and (n == begin or age_day[order[n - 1]] >= age_day[epoch])
                order[n] = epoch
                n += 1
        if not is_sorted:
            _sort_by_age(order[begin:n], age_day)


@kernel
def _sort_by_age(order: IntArray, age_day: FloatArray) -> None:
    """Sort epochs, the oldest first, of equal ones that with the lower number (Shell)."""
    gap = len(order) // 2
    while gap > 0:
        for place in range(gap, len(order)):
            epoch, at = order[place], place
            while at >= gap and (
                age_day[order[at - gap]] < age_day[epoch]
                or (age_day[order[at - gap]] == age_day[epoch] and order[at - gap] > epoch)
            ):
                order[at] = order[at - gap]
                at -= gap
            order[at] = epoch
        gap = 1 if gap == 2 else gap * 5 // 11


@kernel
def _sort(values: FloatArray) -> None:
    """Sort numbers (Shell); compiling numpy's takes seconds."""
    gap = len(values) // 2
    while gap > 0:
        for place in range(gap, len(values)):
            value, at = values[place], place
            while at >= gap and values[at - gap] > value:
                values[at] = values[at - gap]
                at -= gap
            values[at] = value
        gap = 1 if gap == 2 else gap * 5 // 11


@kernel
def _median(values: FloatArray) -> Number:
    """Return the median, 0 of nothing; sorts the values."""
    n = len(values)
    if n == 0:
        return 0.0
    _sort(values)
    return values[(n - 1) // 2] / 2 + values[n // 2] / 2


@kernel
def _night(age_day: Number) -> Number:
    """Return the night of an epoch, counted from that of the alert, which lasts half a day to either side."""
    return math.floor(age_day + 0.5)


@kernel
def _count_nights(age_day: FloatArray, order: IntArray) -> Number:
    n_nights = 1
    for place in range(1, len(order)):
        n_nights += _night(age_day[order[place]]) != _night(age_day[order[place - 1]])
    return n_nights


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
def _mean_std(values: FloatArray) -> tuple[Number, Number]:
    mean = square = 0.0
    for value in values:
        mean += value / len(values)
    for value in values:
        square += (value - mean) * (value - mean)
    return mean, math.sqrt(square / len(values))


@kernel
def _log(value: Number, least: Number) -> Number:
    return math.log10(max(value, least))


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
    mean, std = _mean_std(deviation)
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
    _sort(buffer)
    values[0] = _log(typical_error, least)
    values[1] = _log(std, least)
    values[2] = _log(mad, least)
    values[3] = _log(std / max(typical_error, least), least)
    values[4] = _log(chi_square / n, least)
    values[5] = _log(_quantile(buffer, 0.95) - _quantile(buffer, 0.05), least)
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
def _put_pace(
    deviation: FloatArray,
    age_day: FloatArray,
    group: IntArray,
    order: IntArray,
    std: Number,
    least: Number,
    same_night_day: Number,
    fastest_day: Number,
    slopes: FloatArray,
    values: FloatArray,
) -> None:
    """Put how fast the deviations change between epochs that follow one another in a band."""
    n = len(order)
    every = close = left = 0.0
    n_every = n_close = n_nights = 0
    means = np.empty(n)
    begin = 0
    for place in range(n):
        here = order[place]
        is_last = place + 1 == n or group[order[place + 1]] != group[here]
        if not is_last:
            then = order[place + 1]
            change, gap_day = deviation[then] - deviation[here], age_day[here] - age_day[then]
            every += change * change
            n_every += 1
            if gap_day < same_night_day:
                close += change * change
                slopes[n_close] = abs(change) / max(gap_day, fastest_day)
                n_close += 1
        if is_last or _night(age_day[here]) != _night(age_day[order[place + 1]]):
            total = 0.0
            for member in range(begin, place + 1):
                total += deviation[order[member]]
            means[n_nights] = total / (place + 1 - begin)
            for member in range(begin, place + 1):
                left += (deviation[order[member]] - means[n_nights]) ** 2
            n_nights += 1
            begin = place + 1
    variance = max(std * std, least * least)
    within = math.sqrt(left / max(n - n_nights, 1))
    _, between = _mean_std(means[:n_nights])
    values[0] = every / max(n_every, 1) / variance
    values[1] = close / max(n_close, 1) / variance
    values[2] = _log(within, least)
    values[3] = _log(between, least)
    values[4] = _log(within / max(between, SCALE_FLOOR), least)
    values[5] = _log(_median(slopes[:n_close]), least)
    values[6] = _log(slopes[n_close - 1] if n_close > 0 else 0.0, least)  # they are sorted by now


@kernel
def _put_trends(
    deviation: FloatArray,
    error: FloatArray,
    age_day: FloatArray,
    order: IntArray,
    trend_epochs: Number,
    least: Number,
    buffer: FloatArray,
    values: FloatArray,
) -> None:
    """Put the straight lines through the exposures of single nights."""
    n = len(order)
    strengths = residuals = signs = strongest = steepest = 0.0
    n_lines = begin = 0
    for place in range(n):
        if place + 1 < n and _night(age_day[order[place]]) == _night(age_day[order[place + 1]]):
            continue
        members = order[begin : place + 1]
        begin = place + 1
        count = len(members)
        if count < trend_epochs:
            continue
        mean_age = mean = 0.0
        for place_of, member in enumerate(members):
            mean_age += age_day[member] / count
            mean += deviation[member] / count
            buffer[place_of] = error[member]
        night_error = max(_median(buffer[:count]), NIGHT_ERROR_FLOOR)
        leverage = product = 0.0
        for member in members:
            time = mean_age - age_day[member]
            leverage += time * time
            product += time * (deviation[member] - mean)
        if not leverage > 1e-9:
            continue
        line = product / max(leverage, 1e-12)
        square = 0.0
        for member in members:
            square += (deviation[member] - mean - line * (mean_age - age_day[member])) ** 2
        strength = abs(line * math.sqrt(leverage) / night_error)
        strengths += strength
        residuals += math.sqrt(square / count) / night_error
        signs += math.copysign(1.0, line) if line != 0.0 else 0.0
        strongest, steepest = max(strongest, strength), max(steepest, abs(line))
        n_lines += 1
    values[0] = math.asinh(strengths / max(n_lines, 1))
    values[1] = math.asinh(strongest)
    values[2] = _log(steepest, least)
    values[3] = _log(residuals / max(n_lines, 1), least)
    values[4] = signs / max(n_lines, 1)


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


@kernel
def _put_nights(
    deviation: FloatArray,
    error: FloatArray,
    age_day: FloatArray,
    group: IntArray,
    order: IntArray,
    scale: Number,
    least: Number,
    values: FloatArray,
) -> None:
    """Put the strongest runs of nights on either side, and the exposure farthest from those of its night."""
    n = len(order)
    strongest = np.zeros(2)  # on the bright and on the faint side
    alone = total = 0.0
    n_run = begin = side = 0
    for place in range(n):
        here = order[place]
        is_last = place + 1 == n or group[order[place + 1]] != group[here]
        if not is_last and _night(age_day[here]) == _night(age_day[order[place + 1]]):
            continue
        count = place + 1 - begin
        night = 0.0
        for member in range(begin, place + 1):
            night += deviation[order[member]]
        if (night > 0.0) != (side == 1):
            strongest[side] = max(strongest[side], _strength(total, n_run, scale))
            total, n_run, side = 0.0, 0, 1 - side
        total += night
        n_run += count
        if is_last:
            strongest[side] = max(strongest[side], _strength(total, n_run, scale))
            total, n_run = 0.0, 0
        for member in range(begin, place + 1):
            if count > 1:
                others = abs(deviation[order[member]] - night / count) * count / (count - 1)
                alone = max(alone, others / max(error[order[member]], least))
        begin = place + 1
    values[0], values[1] = math.asinh(strongest[0]), math.asinh(strongest[1])
    values[2] = math.asinh(alone)


@kernel
def _strength(total: Number, n: Number, scale: Number) -> Number:
    """Return the sum of a run's deviations over the scatter and the root of their number."""
    return abs(total) / math.sqrt(max(n, 1)) / scale
