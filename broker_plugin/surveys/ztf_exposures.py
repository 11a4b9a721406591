# SPDX-License-Identifier: BSD-3-Clause
"""What the rows of a ZTF packet say of the exposure that they are of: its time, its number, its filter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from broker_plugin.surveys.adapted import lookup
from broker_plugin.surveys.columns import Columns
from broker_plugin.surveys.epochs import UNKNOWN_BAND
from broker_plugin.taxonomy import passband_code
from broker_plugin.times import MJD_ZERO, SECONDS_PER_DAY, tai_mjd_of_utc_jd

__all__ = ["BANDS", "SAME_EXPOSURE_MS", "band_codes", "exposure_numbers", "mid_exposure_mjd"]

EXPOSURE_S = 30.0
"""Exposure where a packet states none: that of ZTF's public survey. Wrong for the few longer exposures, by up
to two minutes at 240 s."""

SAME_EXPOSURE_MS = 864
"""Start times nearer than this (1e-5 d) are of one exposure; two exposures are 38 s apart at the least."""

BANDS = {1: passband_code("ztf_g"), 2: passband_code("ztf_r"), 3: passband_code("ztf_i")}
"""Passband code by `fid`."""


def band_codes(rows: Columns) -> NDArray[np.int8]:
    """Return the passband code of each row."""
    return lookup(rows["filter"], BANDS, UNKNOWN_BAND)


def mid_exposure_mjd(jd_utc: NDArray[np.float64], exposure_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the middle of each exposure, MJD in TAI; NaN where its start is unknown."""
    usual = np.where(np.isnan(exposure_s), EXPOSURE_S, exposure_s)
    return tai_mjd_of_utc_jd(jd_utc, usual / 2)


def exposure_numbers(jd_utc: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the start of each exposure in ms of MJD, which is the same in every packet; 0 where unknown."""
    mjd = np.nan_to_num(jd_utc, nan=MJD_ZERO) - MJD_ZERO
    return np.rint(mjd * SECONDS_PER_DAY * 1000).astype(np.int64)
