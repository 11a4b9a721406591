# SPDX-License-Identifier: BSD-3-Clause
"""From the rows of a packet to a light curve: which epochs stay, and which kind of flux a band has.

The steps, in this order, on rows that the sink may see:

1. Epochs that the survey withdrew go.
2. Epochs with an impossible time, an unknown band or no usable flux go.
3. One epoch of one detector stays once: the alert's own row before other detections, those before forced
   photometry; among equals the row nearest to the alert, then the one with the smallest identifier.
4. Epochs later than the alert go.
5. Each band gets one kind of flux (see `_choose_kind`), since a step between difference and apparent flux
   would look like an outburst.
6. The epochs are put in order of time; ties by band, detector, origin and flux.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from broker_plugin.epochs import EpochRows
from broker_plugin.records import LightCurve, Origin, QualityFlag

__all__ = ["UNKNOWN_BAND", "light_curve_of", "median"]

UNKNOWN_BAND = -1
"""Code of a band that is none of ours; such epochs are left out."""


def light_curve_of(
    rows: EpochRows, alert_mjd_tai: float, *, apparent_bands: frozenset[int], same_exposure: int = 0
) -> tuple[LightCurve, set[QualityFlag]]:
    """Return the light curve of an alert and what is to be remarked about it.

    Parameters
    ----------
    rows
        Every visible row, the alert's own included.
    alert_mjd_tai
        Time of the alert.
    apparent_bands
        Passband codes in which the source on the reference image is the object itself.
    same_exposure
        Exposure numbers that differ by no more than this are of one exposure.
    """
    flags: set[QualityFlag] = set()
    rows = _drop(rows, rows.withdrawn & ~rows.trigger, QualityFlag.EPOCHS_WITHDRAWN, flags)
    unusable = np.isnan(rows.mjd_tai) | (rows.band == UNKNOWN_BAND)
    rows = _drop(rows, unusable, QualityFlag.EPOCHS_INVALID, flags)
    measured = ~np.isnan(rows.difference_njy) | ~np.isnan(rows.total_njy)
    # A forced row without a flux is no defect: the survey looked and could not measure.
    rows = _drop(rows, ~measured & (rows.origin == Origin.DETECTION), QualityFlag.EPOCHS_INVALID, flags)
    rows = rows.take(~np.isnan(rows.difference_njy) | ~np.isnan(rows.total_njy))
    rows = _each_epoch_once(rows, same_exposure)
    rows = _drop(rows, rows.mjd_tai > alert_mjd_tai, QualityFlag.HISTORY_AFTER_ALERT, flags)
    flux, error, apparent = _choose_kind(rows, apparent_bands)
    curve = _in_order(rows, flux, error, apparent)
    if not len(curve):
        flags.add(QualityFlag.NO_LIGHT_CURVE)
    elif not curve.apparent.any():
        flags.add(QualityFlag.DIFFERENCE_FLUX_ONLY)
    return curve, flags


def median(values: NDArray[np.float64]) -> float:
    """Return the median of a few known values; `np.median` takes ten times as long for as few as these."""
    ordered = sorted(values.tolist())
    middle = len(ordered) // 2
    return float(ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2)


def _drop(
    rows: EpochRows, unwanted: NDArray[np.bool_], remark: QualityFlag, flags: set[QualityFlag]
) -> EpochRows:
    if not unwanted.any():
        return rows
    flags.add(remark)
    return rows.take(~unwanted)


def _each_epoch_once(rows: EpochRows, same_exposure: int) -> EpochRows:
    exposure = _numbered(rows.exposure, same_exposure) if same_exposure else rows.exposure
    separation = rows.separation_arcsec
    far = np.where(np.isnan(separation), np.inf, separation)
    preference = np.lexsort(
        (
            rows.difference_njy,
            rows.identifier,
            far,
            rows.origin,
            ~rows.trigger,
            rows.band,
            rows.detector,
            exposure,
        )
    )
    exposure, detector, band = exposure[preference], rows.detector[preference], rows.band[preference]
    first = np.ones(len(preference), np.bool_)
    first[1:] = (np.diff(exposure) != 0) | (np.diff(detector) != 0) | (np.diff(band) != 0)
    return rows.take(preference[first])


def _numbered(exposure: NDArray[np.int64], same_exposure: int) -> NDArray[np.int64]:
    """Return numbers that are equal for exposures whose own numbers are near to one another."""
    order = np.argsort(exposure, kind="stable")
    number_of = np.empty(len(exposure), np.int64)
    number_of[order] = np.cumsum(np.concatenate([[False], np.diff(exposure[order]) > same_exposure]))
    return number_of


def _choose_kind(
    rows: EpochRows, apparent_bands: frozenset[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return flux, error and kind of every epoch; NaN where a band's kind is not known for an epoch.

    A band is apparent if the reference source is the object and every epoch of the band has an apparent flux:
    that of the science image, else difference plus reference. References change when a survey makes a new
    reference image, so each epoch takes its own, and the band's median where its own is missing. The errors
    of difference and reference add in quadrature; the reference's is common to the epochs that share it, so
    it is right for the level of a light curve and pessimistic for the scatter about it.
    """
    flux, error = rows.difference_njy.copy(), rows.difference_err_njy.copy()
    apparent = np.zeros(len(flux), np.bool_)
    for band in sorted(set(rows.band.tolist()) & apparent_bands):
        of_band = np.flatnonzero(rows.band == band)
        band_flux, band_error = _apparent_flux(rows.take(of_band))
        if not np.isnan(band_flux).any():
            flux[of_band], error[of_band], apparent[of_band] = band_flux, band_error, True
    return flux, error, apparent


def _apparent_flux(rows: EpochRows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    reference, reference_err = rows.reference_njy, rows.reference_err_njy
    known = ~np.isnan(reference)
    if known.any():
        reference = np.where(known, reference, median(reference[known]))
        reference_err = np.where(known, reference_err, median(reference_err[known]))
    measured = ~np.isnan(rows.total_njy)
    flux = np.where(measured, rows.total_njy, rows.difference_njy + reference)
    error = np.where(measured, rows.total_err_njy, np.hypot(rows.difference_err_njy, reference_err))
    return flux, error


def _in_order(
    rows: EpochRows, flux: NDArray[np.float64], error: NDArray[np.float64], apparent: NDArray[np.bool_]
) -> LightCurve:
    order = np.lexsort((flux, rows.origin, rows.detector, rows.band, rows.mjd_tai))
    order = order[~np.isnan(flux[order])]
    return LightCurve.from_columns(
        mjd_tai=rows.mjd_tai[order],
        flux_njy=flux[order],
        flux_err_njy=error[order],
        band=rows.band[order],
        origin=rows.origin[order],
        apparent=apparent[order],
        detector=rows.detector[order],
        access=rows.access[order],
    )
