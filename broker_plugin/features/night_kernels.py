# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of what changes from exposure to exposure and from night to night; see `variability`.

Importing this takes a second of its own, for numba.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.order_kernels import log, mean_std, night
from broker_plugin.kernels import kernel
from broker_plugin.ordering import median

__all__ = ["put_nights", "put_pace", "put_trends"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Number = Any
"""A number of a kernel: numpy's in plain Python, 64 bits once compiled."""

SPREAD_FLOOR = 1e-4
"""Least spread of nights that the one within them is compared with, a tenth of the surveys' precision."""

NIGHT_ERROR_FLOOR = 1e-3
"""Least error of a night's line, the precision of the surveys."""


@kernel
def put_pace(
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
        if is_last or night(age_day[here]) != night(age_day[order[place + 1]]):
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
    _, between = mean_std(means[:n_nights])
    values[0] = every / max(n_every, 1) / variance
    values[1] = close / max(n_close, 1) / variance
    values[2] = log(within, least)
    values[3] = log(between, least)
    values[4] = log(within / max(between, SPREAD_FLOOR), least)
    values[5] = log(median(slopes[:n_close]), least)
    steepest = 0.0
    for place in range(n_close):
        steepest = max(steepest, slopes[place])
    values[6] = log(steepest, least)


@kernel
def put_trends(
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
        if place + 1 < n and night(age_day[order[place]]) == night(age_day[order[place + 1]]):
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
        night_error = max(median(buffer[:count]), NIGHT_ERROR_FLOOR)
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
    values[2] = log(steepest, least)
    values[3] = log(residuals / max(n_lines, 1), least)
    values[4] = signs / max(n_lines, 1)


@kernel
def put_nights(
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
        if not is_last and night(age_day[here]) == night(age_day[order[place + 1]]):
            continue
        count = place + 1 - begin
        total_here = 0.0
        for member in range(begin, place + 1):
            total_here += deviation[order[member]]
        if (total_here > 0.0) != (side == 1):
            strongest[side] = max(strongest[side], _strength(total, n_run, scale))
            total, n_run, side = 0.0, 0, 1 - side
        total += total_here
        n_run += count
        if is_last:
            strongest[side] = max(strongest[side], _strength(total, n_run, scale))
            total, n_run = 0.0, 0
        for member in range(begin, place + 1):
            if count > 1:
                others = abs(deviation[order[member]] - total_here / count) * count / (count - 1)
                alone = max(alone, others / max(error[order[member]], least))
        begin = place + 1
    values[0], values[1] = math.asinh(strongest[0]), math.asinh(strongest[1])
    values[2] = math.asinh(alone)


@kernel
def _strength(total: Number, n: Number, scale: Number) -> Number:
    """Return the sum of a run's deviations over the scatter and the root of their number."""
    return abs(total) / math.sqrt(max(n, 1)) / scale
