# SPDX-License-Identifier: BSD-3-Clause
"""The kernels of the features, compiled before the first alert comes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.lomb_scargle import Curves, strongest_peaks
from broker_plugin.features.period import GRID

__all__ = ["compiled_kernels", "warm_up"]

N_EPOCHS = 400, 10
"""Epochs of two light curves of 100 days, one for each way of computing a periodogram."""


def warm_up() -> None:
    """Compile the kernels, or load them from their cache: seconds at the first start, part of one later."""
    rng = np.random.default_rng(1)
    size = np.array(N_EPOCHS, np.int64)
    stops: NDArray[np.int64] = np.cumsum(size)
    n = int(stops[-1])
    curves = Curves(
        starts=stops - size,
        stops=stops,
        age_day=rng.uniform(0.0, 100.0, n),
        deviation=rng.normal(0.0, 1.0, n),
        error=np.ones(n),
    )
    strongest_peaks(curves, GRID)


def compiled_kernels() -> tuple[Path, bool]:
    """Return the folder of the compiled code, and whether all of it is there already."""
    from broker_plugin.features.peaks import find_peaks
    from broker_plugin.features.periodogram import grids, power_directly, power_of_modes, sources
    from broker_plugin.kernels import are_compiled

    return are_compiled(find_peaks, grids, power_directly, power_of_modes, sources)
