# SPDX-License-Identifier: BSD-3-Clause
"""From the rows of packets to light curves: which epochs stay, and which kind of flux a band has.

The rows of many alerts are worked on together, and no alert's light curve depends on another's rows. The
steps, in this order, on rows that the sink may see:

1. Epochs that the survey withdrew go.
2. Epochs with an impossible time, an unknown band or no usable flux go.
3. One epoch of one detector stays once: the alert's own row before other detections, those before forced
   photometry; among equals the row nearest to the alert, then the one with the smallest identifier. Where the
   survey's forced flux goes first, the epoch has the flux of the first forced row that leaves it each kind of
   flux, difference and apparent, that it has by itself.
4. Epochs later than the alert go.
5. Each band gets one kind of flux, since a step between difference and apparent flux would look like an
   outburst.
6. The epochs are put in order of time; ties by band, detector, origin and flux.

A band is apparent if the reference source is the object and every epoch of the band has an apparent flux:
that of the science image, else difference plus reference. References change when a survey makes a new
reference image, so each epoch takes its own, and the band's median where its own is missing. The errors of
difference and reference add in quadrature; the reference's is common to the epochs that share it, so it is
right for the level of a light curve and pessimistic for the scatter about it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.arrays import plain
from broker_plugin.epochs import EpochRows
from broker_plugin.records import LightCurve, Origin, QualityFlag

__all__ = [
    "N_BANDS",
    "UNKNOWN_BAND",
    "LightCurves",
    "compiled_kernels",
    "group_medians",
    "light_curves_of",
    "warm_up",
]

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
    forced_flux_first: bool = False,
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
    forced_flux_first
        Whether an epoch that was detected has its flux from forced photometry all the same, if that is as
        complete.
    """
    from broker_plugin.surveys.epoch_kernels import choose_epochs  # compiles, and takes a second

    n, n_rows = len(alert_mjd_tai), len(rows)
    flags = {flag: np.zeros(n, np.bool_) for flag in QualityFlag}
    chosen, measured, n_epochs = np.empty(n_rows, np.int64), np.empty(n_rows, np.int64), np.zeros(n, np.int64)
    flux, reference_err, apparent = np.empty(n_rows), np.empty(n_rows), np.empty(n_rows, np.bool_)
    n_chosen = choose_epochs(
        plain(alert, np.int64),
        plain(alert_mjd_tai, np.float64),
        plain(rows.mjd_tai, np.float64),
        plain(rows.band, np.int8),
        plain(rows.origin, np.int8),
        plain(rows.detector, np.int32),
        plain(rows.exposure, np.int64),
        plain(rows.identifier, np.int64),
        plain(rows.separation_arcsec, np.float64),
        plain(rows.difference_njy, np.float64),
        plain(rows.reference_njy, np.float64),
        plain(rows.reference_err_njy, np.float64),
        plain(rows.total_njy, np.float64),
        plain(rows.withdrawn, np.bool_),
        plain(rows.trigger, np.bool_),
        plain(own_reference, np.bool_),
        same_exposure,
        UNKNOWN_BAND,
        int(Origin.DETECTION),
        forced_flux_first,
        flags[QualityFlag.EPOCHS_WITHDRAWN],
        flags[QualityFlag.EPOCHS_INVALID],
        flags[QualityFlag.HISTORY_AFTER_ALERT],
        n_epochs,
        chosen,
        measured,
        flux,
        reference_err,
        apparent,
    )
    chosen, flux, apparent = chosen[:n_chosen], flux[:n_chosen], apparent[:n_chosen]
    offsets = np.concatenate([[0], np.cumsum(n_epochs)])
    n_apparent = np.diff(np.concatenate([[0], np.cumsum(apparent)])[offsets])
    flags[QualityFlag.NO_LIGHT_CURVE] = n_epochs == 0
    flags[QualityFlag.DIFFERENCE_FLUX_ONLY] = (n_epochs > 0) & (n_apparent == 0)
    epochs = LightCurve.from_columns(
        mjd_tai=rows.mjd_tai[chosen],
        flux_njy=flux,
        flux_err_njy=_flux_err(rows, measured[:n_chosen], reference_err[:n_chosen], apparent),
        band=rows.band[chosen],
        origin=rows.origin[chosen],
        apparent=apparent,
        detector=rows.detector[chosen],
        access=rows.access[chosen],
    )
    return LightCurves(epochs=epochs, offsets=offsets, flags=flags)


def warm_up() -> None:
    """Compile the kernels, or load them from their cache."""
    columns: dict[str, Any] = {field.name: np.zeros(0) for field in fields(EpochRows)}
    light_curves_of(
        EpochRows(**columns), np.zeros(0, np.int64), np.zeros(0), own_reference=np.zeros(0, np.bool_)
    )


def compiled_kernels() -> tuple[Path, bool]:
    """Return the folder of the compiled code, and whether all of it is there already."""
    from broker_plugin.kernels import are_compiled
    from broker_plugin.surveys.epoch_kernels import choose_epochs

    return are_compiled(choose_epochs)


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


def _flux_err(
    rows: EpochRows,
    measured: NDArray[np.int64],
    reference_err: NDArray[np.float64],
    apparent: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the error of every epoch's flux: of the difference, the sum with the reference, or the total."""
    difference_err, total_err = rows.difference_err_njy[measured], rows.total_err_njy[measured]
    added = np.hypot(difference_err, reference_err)
    apparent_err = np.where(np.isnan(rows.total_njy[measured]), added, total_err)
    return np.asarray(np.where(apparent, apparent_err, difference_err))
