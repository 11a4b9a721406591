# SPDX-License-Identifier: BSD-3-Clause
"""The upper limits in ZTF packets: rows of `prv_candidates` without `candid`.

`diffmaglim` is the magnitude of five standard deviations on the difference image. Forced photometry covers
most of the same exposures and says more, so a limit of an exposure that was measured there is left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from broker_plugin.epochs import EpochRows
from broker_plugin.surveys.columns import Columns
from broker_plugin.surveys.epochs import UNKNOWN_BAND
from broker_plugin.surveys.photometry import flux_of_mag
from broker_plugin.surveys.ztf_exposures import (
    SAME_EXPOSURE_MS,
    band_codes,
    exposure_numbers,
    mid_exposure_mjd,
)
from broker_plugin.upper_limits import UpperLimits

__all__ = ["limits_of"]

ALERT_STEP = 1 << 43
"""Sets the exposures of alerts apart within one integer: numbers of exposures are smaller until 2137, and no
possible time is later than 2100."""


def limits_of(
    missed: Columns,
    alert: NDArray[np.int64],
    alert_mjd_tai: NDArray[np.float64],
    measured: EpochRows,
    measured_alert: NDArray[np.int64],
) -> tuple[UpperLimits, NDArray[np.int64]]:
    """Return the upper limits of alerts, and the alert of each; both in order of alert and time.

    Parameters
    ----------
    missed, alert
        Visible rows without a detection, and the alert of each.
    alert_mjd_tai
        Times of the alerts, shape (B,); what is later is left out.
    measured, measured_alert
        Every visible measurement, and the alert of each.
    """
    mjd_tai, band = mid_exposure_mjd(missed["jd_utc"], missed["exposure_s"]), band_codes(missed)
    limit_njy, _ = flux_of_mag(missed["limiting_mag"], np.zeros(len(alert)))
    known = ~np.isnan(limit_njy) & (band != UNKNOWN_BAND) & (mjd_tai < alert_mjd_tai[alert])
    # An impossible time would have a number of another alert's exposure.
    has_flux = ~np.isnan(measured.difference_njy) & ~np.isnan(measured.mjd_tai)
    keys = measured_alert[has_flux] * ALERT_STEP + measured.exposure[has_flux]
    known &= ~_is_near(alert * ALERT_STEP + exposure_numbers(missed["jd_utc"]), np.sort(keys))
    rows = np.flatnonzero(known)
    rows = rows[np.lexsort((limit_njy[rows], band[rows], mjd_tai[rows], alert[rows]))]
    # Where two detectors looked, the deeper limit counts.
    is_first = np.ones(len(rows), np.bool_)
    is_first[1:] = np.any([np.diff(column[rows]) != 0 for column in (alert, mjd_tai, band)], axis=0)
    rows = rows[is_first]
    limits = UpperLimits(mjd_tai=mjd_tai[rows], limit_njy=limit_njy[rows].astype(np.float32), band=band[rows])
    return limits, alert[rows]


def _is_near(keys: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell of each key whether one of the others, which are sorted, is of the same exposure."""
    places = np.searchsorted(others, keys - SAME_EXPOSURE_MS)
    padded = np.append(others, np.iinfo(np.int64).max)
    return np.asarray(padded[places] <= keys + SAME_EXPOSURE_MS)
