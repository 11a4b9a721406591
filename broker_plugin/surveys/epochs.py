# SPDX-License-Identifier: BSD-3-Clause
"""From the rows of packets to light curves: which epochs stay, and which kind of flux a band has.

The rows of many alerts are worked on together, and no alert's light curve depends on another's rows. The
steps, in this order, on rows that the sink may see:

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

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.epochs import EpochRows
from broker_plugin.records import LightCurve, Origin, QualityFlag

__all__ = ["N_BANDS", "UNKNOWN_BAND", "LightCurves", "group_medians", "light_curves_of"]

UNKNOWN_BAND = -1
"""Code of a band that is none of ours; such epochs are left out."""


N_BANDS = 128
"""Passband codes are int8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LightCurves:
    """The light curves of alerts behind one another, `offsets` (B + 1,) between them, and what to remark.

    `flags` says of each remark to which alerts it applies, shape (B,).
    """

    epochs: LightCurve
    offsets: NDArray[np.int64]
    flags: dict[QualityFlag, NDArray[np.bool_]]

    def only(self) -> tuple[LightCurve, set[QualityFlag]]:
        """Return the one light curve and its remarks."""
        return self.epochs, {flag for flag, (is_set,) in self.flags.items() if is_set}


def light_curves_of(
    rows: EpochRows,
    alert: NDArray[np.int64],
    alert_mjd_tai: NDArray[np.float64],
    *,
    own_reference: NDArray[np.bool_],
    same_exposure: int = 0,
) -> LightCurves:
    """Return the light curves of alerts.

    Parameters
    ----------
    rows
        Every visible row, the alerts' own included.
    alert
        Which alert each row belongs to, shape (T,).
    alert_mjd_tai
        Times of the alerts, shape (B,).
    own_reference
        By row: whether the source on the reference image of its band is the object itself.
    same_exposure
        Exposure numbers of an alert that differ by no more than this are of one exposure.
    """
    n = len(alert_mjd_tai)
    flags = {flag: np.zeros(n, np.bool_) for flag in QualityFlag}
    kept = _Kept(rows=rows, alert=alert, own_reference=own_reference)
    kept = kept.without(rows.withdrawn & ~rows.trigger, flags[QualityFlag.EPOCHS_WITHDRAWN])
    unusable = np.isnan(kept.rows.mjd_tai) | (kept.rows.band == UNKNOWN_BAND)
    kept = kept.without(unusable, flags[QualityFlag.EPOCHS_INVALID])
    unmeasured = np.isnan(kept.rows.difference_njy) & np.isnan(kept.rows.total_njy)
    # A forced row without a flux is no defect: the survey looked and could not measure.
    kept = kept.without(
        unmeasured & (kept.rows.origin == Origin.DETECTION), flags[QualityFlag.EPOCHS_INVALID]
    )
    kept = kept.without(np.isnan(kept.rows.difference_njy) & np.isnan(kept.rows.total_njy))
    kept = _each_epoch_once(kept, same_exposure)
    late = kept.rows.mjd_tai > alert_mjd_tai[kept.alert]
    kept = kept.without(late, flags[QualityFlag.HISTORY_AFTER_ALERT])
    flux, error, apparent = _choose_kind(kept)
    rows, alert = kept.rows, kept.alert
    order = np.lexsort((flux, rows.origin, rows.detector, rows.band, rows.mjd_tai, alert))
    order = order[~np.isnan(flux[order])]
    n_epochs = np.bincount(alert[order], minlength=n)
    n_apparent = np.bincount(alert[order][apparent[order]], minlength=n)
    flags[QualityFlag.NO_LIGHT_CURVE] = n_epochs == 0
    flags[QualityFlag.DIFFERENCE_FLUX_ONLY] = (n_epochs > 0) & (n_apparent == 0)
    epochs = LightCurve.from_columns(
        mjd_tai=rows.mjd_tai[order],
        flux_njy=flux[order],
        flux_err_njy=error[order],
        band=rows.band[order],
        origin=rows.origin[order],
        apparent=apparent[order],
        detector=rows.detector[order],
        access=rows.access[order],
    )
    return LightCurves(epochs=epochs, offsets=np.concatenate([[0], np.cumsum(n_epochs)]), flags=flags)


def group_medians(
    values: NDArray[np.float64], group: NDArray[np.int64], n_groups: int
) -> NDArray[np.float64]:
    """Return the median of the known values of each group, NaN where a group has none.

    Examples
    --------
    >>> group_medians(np.array([3.0, 1.0, np.nan, 2.0, 5.0]), np.array([0, 0, 0, 0, 2]), 3)
    array([ 2., nan,  5.])
    """
    known = ~np.isnan(values)
    values, group = values[known], group[known]
    count = np.bincount(group, minlength=n_groups)
    ordered = values[np.lexsort((values, group))]
    start = np.cumsum(count) - count
    medians = np.full(n_groups, np.nan)
    filled = np.flatnonzero(count)
    lower = ordered[start[filled] + (count[filled] - 1) // 2]
    upper = ordered[start[filled] + count[filled] // 2]
    medians[filled] = lower / 2 + upper / 2
    return medians


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """The rows that are still there."""

    rows: EpochRows
    alert: NDArray[np.int64]
    own_reference: NDArray[np.bool_]

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> _Kept:
        return _Kept(
            rows=self.rows.take(rows), alert=self.alert[rows], own_reference=self.own_reference[rows]
        )

    def without(self, unwanted: NDArray[np.bool_], flag: NDArray[np.bool_] | None = None) -> _Kept:
        if not unwanted.any():
            return self
        if flag is not None:
            flag[self.alert[unwanted]] = True
        return self.take(~unwanted)


def _each_epoch_once(kept: _Kept, same_exposure: int) -> _Kept:
    rows, alert = kept.rows, kept.alert
    exposure = _numbered(rows.exposure, alert, same_exposure) if same_exposure else rows.exposure
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
            alert,
        )
    )
    first = np.zeros(len(preference), np.bool_)
    first[:1] = True
    for column in (alert, exposure, rows.detector, rows.band):
        ordered = column[preference]
        first[1:] |= ordered[1:] != ordered[:-1]
    return kept.take(preference[first])


def _numbered(exposure: NDArray[np.int64], alert: NDArray[np.int64], same_exposure: int) -> NDArray[np.int64]:
    """Return numbers that are equal for exposures of an alert whose own numbers are near to one another."""
    order = np.lexsort((exposure, alert))
    new = (np.diff(exposure[order]) > same_exposure) | (np.diff(alert[order]) != 0)
    number_of = np.zeros(len(exposure), np.int64)
    number_of[order[1:]] = np.cumsum(new)
    return number_of


def _choose_kind(
    kept: _Kept,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return flux, error and kind of every epoch; NaN where a band's kind is not known for an epoch.

    A band is apparent if the reference source is the object and every epoch of the band has an apparent flux:
    that of the science image, else difference plus reference. References change when a survey makes a new
    reference image, so each epoch takes its own, and the band's median where its own is missing. The errors
    of difference and reference add in quadrature; the reference's is common to the epochs that share it, so
    it is right for the level of a light curve and pessimistic for the scatter about it.
    """
    rows = kept.rows
    keys, group = np.unique(kept.alert * N_BANDS + rows.band, return_inverse=True)
    reference, reference_err = rows.reference_njy, rows.reference_err_njy
    unknown = np.isnan(reference)
    if unknown.any():
        reference = np.where(unknown, group_medians(reference, group, len(keys))[group], reference)
        reference_err = np.where(
            unknown,
            # A reference and its error are known together.
            group_medians(reference_err, group, len(keys))[group],
            reference_err,
        )
    measured = ~np.isnan(rows.total_njy)
    flux = np.where(measured, rows.total_njy, rows.difference_njy + reference)
    error = np.where(measured, rows.total_err_njy, np.hypot(rows.difference_err_njy, reference_err))
    complete = np.bincount(group[np.isnan(flux)], minlength=len(keys)) == 0
    apparent = kept.own_reference & complete[group]
    return (
        np.where(apparent, flux, rows.difference_njy),
        np.where(apparent, error, rows.difference_err_njy),
        apparent,
    )
