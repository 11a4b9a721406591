# SPDX-License-Identifier: BSD-3-Clause
"""What the verdicts of a batch rest on, as columns: epochs by band, brightness, periods, time observed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.period import Periods, catalogue_periods
from broker_plugin.records import METADATA_COLUMNS, AlertBatch
from broker_plugin.surveys.photometry import AB_ZERO_NJY
from broker_plugin.taxonomy import PASSBANDS

__all__ = ["evidence", "given_periods", "spans"]

REFERENCE_COLUMN = METADATA_COLUMNS.index("reference_mag")


def evidence(batch: AlertBatch, periods: Periods) -> dict[str, Sequence[Any]]:
    """Return the fields of a batch's verdicts that say what they rest on, as columns of plain numbers.

    Where no period was searched there is none, and no epoch was searched.

    Examples
    --------
    >>> evidence(AlertBatch.from_alerts([]), Periods.none(0))["n_epochs"]
    []
    """
    searched = periods.searched.tolist()
    return {
        "n_epochs": batch.n_epochs.tolist(),
        "n_epochs_by_band": _counts_by_band(batch),
        "reference_change_mag": _reference_changes(batch),
        "period_day": _where(searched, periods.period_day),
        "period_false_alarm_probability": _where(searched, periods.false_alarm_probability),
        "period_aliases_day": [
            tuple(alias for alias in aliases if alias > 0) for aliases in periods.aliases_day.tolist()
        ],
        "period_epochs": np.where(periods.searched, periods.n_epochs, 0).tolist(),
    }


def given_periods(batch: AlertBatch) -> list[float | None]:
    """Return the periods of catalogues, days; None where none is known or there is no epoch to fold."""
    period_day = catalogue_periods(batch)
    return _where(((period_day > 0) & (batch.n_epochs > 0)).tolist(), period_day)


def spans(batch: AlertBatch) -> list[float]:
    """Return the days between the first and the last epoch of each alert, 0 without epochs."""
    found = np.zeros(len(batch))
    has_any = batch.n_epochs > 0
    if has_any.any():
        begin, mjd = batch.offsets[:-1][has_any], batch.epochs.mjd_tai
        found[has_any] = np.maximum.reduceat(mjd, begin) - np.minimum.reduceat(mjd, begin)
    return list(found.tolist())


def _where(known: Sequence[bool], values: NDArray[np.float64]) -> list[float | None]:
    return [value if there else None for value, there in zip(values.tolist(), known, strict=True)]


def _reference_changes(batch: AlertBatch) -> list[float | None]:
    """Return by how many magnitudes each alert's detection differs from its reference; None where unknown."""
    rows = np.flatnonzero((batch.n_epochs > 0) & batch.metadata_valid[:, REFERENCE_COLUMN])
    newest, epochs = batch.offsets[1:][rows] - 1, batch.epochs
    is_the_detection = epochs.mjd_tai[newest] == batch.mjd_tai[rows]
    rows, newest = rows[is_the_detection], newest[is_the_detection]
    reference_njy = AB_ZERO_NJY * 10.0 ** (-0.4 * batch.metadata[rows, REFERENCE_COLUMN].astype(np.float64))
    flux_njy = epochs.flux_njy[newest] + np.where(epochs.apparent[newest], 0.0, reference_njy)
    is_above = flux_njy > 0.0
    change, known = np.zeros(len(batch)), np.zeros(len(batch), np.bool_)
    change[rows[is_above]] = -2.5 * np.log10(flux_njy[is_above] / reference_njy[is_above])
    known[rows[is_above]] = True
    return _where(known.tolist(), change)


def _counts_by_band(batch: AlertBatch) -> list[dict[str, int]]:
    """Return how many epochs each passband has, in the order of the passbands."""
    shape = (len(batch), len(PASSBANDS))
    row = np.repeat(np.arange(len(batch)), batch.n_epochs)
    counts = np.bincount(row * shape[1] + batch.epochs.band, minlength=shape[0] * shape[1]).reshape(shape)
    found: list[dict[str, int]] = [{} for _ in range(len(batch))]
    rows, codes = np.nonzero(counts)
    for at, code, n in zip(rows.tolist(), codes.tolist(), counts[rows, codes].tolist(), strict=True):
        found[at][PASSBANDS[code][0]] = n
    return found
