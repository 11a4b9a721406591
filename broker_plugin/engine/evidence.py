# SPDX-License-Identifier: BSD-3-Clause
"""What the verdicts of a batch rest on, as columns: epochs by band, periods, and how long was observed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.period import Periods, catalogue_periods
from broker_plugin.records import AlertBatch
from broker_plugin.taxonomy import PASSBANDS

__all__ = ["evidence", "given_periods", "spans"]


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
