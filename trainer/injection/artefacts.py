# SPDX-License-Identifier: BSD-3-Clause
"""Instrumental jumps: what a detector or a calibration does to a light curve while the sky is quiet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from trainer.injection import priors
from trainer.injection.photometry import visits_of

__all__ = ["JUMPS"]

FloatArray = NDArray[np.float64]

Jump = Callable[[FloatArray, np.random.Generator], FloatArray]


def _zero_point(mjd: FloatArray, rng: np.random.Generator) -> FloatArray:
    visit = visits_of(mjd)
    first = int(rng.integers(0, visit[-1] + 1))
    lasting = rng.random() < priors.STEP_LASTS_SHARE
    step_mag = float(np.exp(rng.uniform(*np.log(priors.STEP_MAG)))) * rng.choice([-1.0, 1.0])
    return np.where(visit >= first if lasting else visit == first, step_mag, 0.0)


def _outlier(mjd: FloatArray, rng: np.random.Generator) -> FloatArray:
    change_mag = np.zeros(len(mjd))
    change_mag[rng.integers(0, len(mjd))] = rng.uniform(*priors.OUTLIER_MAG) * rng.choice([-1.0, 1.0])
    return change_mag


def _saturation(mjd: FloatArray, rng: np.random.Generator) -> FloatArray:
    visit = visits_of(mjd)
    share, scatter_mag = rng.uniform(*priors.SATURATED_SHARE), rng.uniform(*priors.SATURATION_MAG)
    saturated = rng.random(visit[-1] + 1) < share
    saturated[rng.integers(0, visit[-1] + 1)] = True
    return np.where(saturated[visit], np.abs(rng.normal(0.0, scatter_mag, len(mjd))), 0.0)


JUMPS: Mapping[str, Jump] = MappingProxyType(
    {"zero_point": _zero_point, "outlier": _outlier, "saturation": _saturation}
)
"""Change of the magnitudes by the times of the epochs that are looked at."""
