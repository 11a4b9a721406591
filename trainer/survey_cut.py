# SPDX-License-Identifier: BSD-3-Clause
"""A star's own epochs, cut into the alert that ZTF or LSST would have sent of it.

No light is invented, and no period is asked for: all that is made up is which survey looked, and since when.
What it could not know when it sent the alert does not enter.

Exposures
    The first and the last of each night's, in two bands, as both surveys take them. Nights are those of the
    star: Catalina's are 6 to 40 days apart, either survey's 2 to 4, and what was not observed stays so.
Bands
    The star was measured in one band; its flux passes for that in each of the survey's, which makes it a
    star without colour whose amplitude is the same in all bands.
Reference
    The median of the exposures before the history: a reference image is older than the alert, and made of
    none of its epochs. With fewer than `REFERENCE_EPOCHS_MIN` there is none: the difference is all the flux.
Trigger
    The first detection after a number of exposures that is drawn for the star. A detection differs from the
    reference by five sigma of the survey's own noise and the measurement's scatter together: what was
    measured is noisier than what the survey would have seen, and noise is no detection. The errors that the
    alert reports are those of the measurement. A star without any detection, one in ten, ends with its last
    exposure, so that every star has an alert.
Survey
    ZTF or LSST, drawn; ZTF where the first exposure is brighter than LSST can measure.
History
    What is not older than `HISTORY_DAY` when the alert is sent. As in the imitation of alerts, half of the
    histories hold forced photometry between the detections, and a quarter lacks the flux of the reference in
    some or all bands. The magnitude of the reference comes with that flux.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from broker_plugin.records import Alert, SourceContext
from broker_plugin.surveys.photometry import AB_ZERO_NJY
from trainer.augment import Measured, alert_at, light_curve_of
from trainer.cadence import DETECTION_SIGMA, LSST, ZTF, Survey, noise_njy
from trainer.data.stars import StarTable

__all__ = ["CUT_VERSION", "HISTORY_DAY", "cut_alert"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CUT_VERSION = "2"
"""Version of the cut; raise it with any change here, or old caches pass for new ones."""

HISTORY_DAY = 30.0
"""Age of the oldest epoch of a ZTF packet. Those of LSST go back a year, which its first alerts cannot."""

REFERENCE_EPOCHS_MIN = 10
"""Fewest exposures that make a reference; with fewer, its own noise would pass for variability."""

WAIT_MAX = 60
"""Most exposures of a star before its alert may come; few stars have fewer. Exposures are counted, not days:
the first detection after some day mostly follows a gap, and has no history."""

LSST_BRIGHT_MAG = 16.0
"""About where LSST saturates in a visit (Ivezic et al. 2019, ApJ 873, 111)."""

SCATTER_SHARE = 0.5
"""Scatter of Catalina's exposures within a night in errors as reported: the median over 1,500 stars, half of
which lie between 0.39 and 0.63."""


def cut_alert(stars: StarTable, star: int, *, seed: int | tuple[int, ...]) -> Alert:
    """Return a star, of one epoch or more, cut into an alert.

    Parameters
    ----------
    seed
        Of all that is drawn for it.
    """
    rng = np.random.default_rng(seed)
    # As many as there are epochs, and these must not move what else is drawn.
    by_night, by_exposure = rng.spawn(2)
    survey = ZTF if rng.random() < 0.5 or _is_too_bright(stars, star) else LSST
    exposure, band = _exposures(stars.mjd[stars.epochs(star)], survey, by_night)
    mjd, flux_njy, flux_err_njy = (
        column[stars.epochs(star)][exposure].astype(np.float64)
        for column in (stars.mjd, stars.flux_njy, stars.flux_err_njy)
    )
    threshold_njy = DETECTION_SIGMA * _noise_njy(flux_njy, flux_err_njy, survey, by_exposure)
    trigger = _trigger(mjd, flux_njy, threshold_njy, wait=int(rng.integers(0, WAIT_MAX + 1)))
    reference_njy = _reference_njy(mjd, flux_njy, trigger)
    kept = slice(_history_start(mjd, trigger), trigger + 1)
    detected = np.abs(flux_njy[kept] - reference_njy) > threshold_njy[kept]
    detected[-1] = True
    measured = Measured(
        mjd=mjd[kept],
        band=band[kept],
        flux_njy=flux_njy[kept],
        flux_err_njy=flux_err_njy[kept],
        reference_njy=np.full(len(detected), reference_njy),
        detected=detected,
    )
    curve = light_curve_of(measured, rng, n_epochs=len(detected))
    metadata = stars.galactic(star)
    if reference_njy > 0 and curve.apparent.any():
        metadata["reference_mag"] = float(-2.5 * np.log10(reference_njy / AB_ZERO_NJY))
    return alert_at(
        stars,
        star,
        curve,
        survey=survey.name,
        alert_id=star,
        metadata=metadata,
        source_context=SourceContext.STELLAR,
    )


def _noise_njy(
    flux_njy: FloatArray, flux_err_njy: FloatArray, survey: Survey, rng: np.random.Generator
) -> FloatArray:
    """Return the standard deviation of each exposure: the survey's own, and what the measurement had."""
    return np.hypot(noise_njy(flux_njy, survey, rng), SCATTER_SHARE * flux_err_njy)


def _is_too_bright(stars: StarTable, star: int) -> bool:
    first_njy = float(stars.flux_njy[stars.offsets[star]])
    return first_njy > AB_ZERO_NJY * 10 ** (-0.4 * LSST_BRIGHT_MAG)


def _exposures(
    mjd: FloatArray, survey: Survey, rng: np.random.Generator
) -> tuple[IntArray, NDArray[np.int8]]:
    """Return which epochs a survey takes, the first and the last of each night, and their bands."""
    first = np.flatnonzero(np.diff(np.floor(mjd), prepend=-np.inf))
    last = np.append(first[1:], len(mjd)) - 1
    taken = np.unique(np.concatenate([first, last]))
    pairs = np.array(survey.pairs, np.int8)[rng.integers(0, len(survey.pairs), len(first))]
    night = np.searchsorted(first, taken, side="right") - 1
    return taken, pairs[night, (taken > first[night]).astype(np.int64)]


def _trigger(mjd: FloatArray, flux_njy: FloatArray, threshold_njy: FloatArray, *, wait: int) -> int:
    """Return the first detection after some exposures, the last exposure if there is none."""
    for at in range(wait, len(mjd)):
        reference_njy = _reference_njy(mjd, flux_njy, at)
        if reference_njy > 0 and abs(flux_njy[at] - reference_njy) > threshold_njy[at]:
            return at
    return len(mjd) - 1


def _reference_njy(mjd: FloatArray, flux_njy: FloatArray, trigger: int) -> float:
    """Return the flux on the reference image of an alert, 0 where there is no such image."""
    before = flux_njy[: _history_start(mjd, trigger)]
    return float(np.median(before)) if len(before) >= REFERENCE_EPOCHS_MIN else 0.0


def _history_start(mjd: FloatArray, trigger: int) -> int:
    return int(np.searchsorted(mjd, mjd[trigger] - HISTORY_DAY))
