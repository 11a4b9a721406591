# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of one wave against one light curve: the epochs weighed, and what a sinusoid takes away.

The sums over the epochs, which take nearly all of the time, are made in `features.periodogram`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.kernels import fused_kernel

__all__ = ["COSINE", "COSINE_STEP", "ROOT", "SCALED", "SINE", "SINE_STEP", "STATE", "share", "weigh"]

FloatArray = NDArray[np.float64]
Number = Any
"""A number of a kernel: numpy's in plain Python, 64 bits once compiled."""

# Columns of the state of an epoch.
COSINE, SINE, ROOT, SCALED, COSINE_STEP, SINE_STEP, STATE = 0, 1, 2, 3, 4, 5, 6


@fused_kernel
def weigh(deviation: FloatArray, error: FloatArray, state: FloatArray, value: FloatArray) -> Number:
    """Put roots of the weights, of sum one, and the values about their mean; return their variance."""
    n = len(deviation)
    total, mean = 0.0, 0.0
    for epoch in range(n):
        weight = 1.0 / (error[epoch] * error[epoch])
        total += weight
        mean += weight * deviation[epoch]
    mean /= total
    variance = 0.0
    for epoch in range(n):
        root = math.sqrt(1.0 / (error[epoch] * error[epoch] * total))
        value[epoch] = deviation[epoch] - mean
        state[epoch, ROOT] = root
        state[epoch, SCALED] = root * value[epoch]
        variance += state[epoch, SCALED] * state[epoch, SCALED]
    return variance


@fused_kernel
def share(
    cosine: Number,
    sine: Number,
    value_cosine: Number,
    value_sine: Number,
    cosine_square: Number,
    cosine_sine: Number,
    variance: Number,
    vanishing: Number,
) -> Number:
    """Return the share of the variance that a sinusoid takes away.

    Cosine and sine are turned into two waves that are orthogonal over the epochs. Epochs may be so placed
    that one of the two, or both, do not vary over them: by no more than `vanishing`, what the sums are not
    known to.
    """
    cc = cosine_square - cosine * cosine
    ss = (1.0 - cosine_square) - sine * sine
    cs = cosine_sine - cosine * sine
    difference = cc - ss
    length = math.sqrt(difference * difference + 4.0 * cs * cs)
    double_cosine = abs(difference) / length if length > 0.0 else 1.0
    double_sine = 2.0 * cs / length if length > 0.0 else 0.0
    if difference < 0.0:
        double_sine = -double_sine
        length = -length
    turned_cosine = math.sqrt(0.5 + 0.5 * double_cosine)
    turned_sine = 0.5 * double_sine / turned_cosine
    first = value_cosine * turned_cosine + value_sine * turned_sine
    second = value_sine * turned_cosine - value_cosine * turned_sine
    first_norm = 0.5 * (cc + ss + length)
    second_norm = 0.5 * (cc + ss - length)
    share = first * first / first_norm if first_norm > vanishing else 0.0
    share += second * second / second_norm if second_norm > vanishing else 0.0
    return share / variance
