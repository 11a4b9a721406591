# SPDX-License-Identifier: BSD-3-Clause
"""What an adapter makes of the columns of many packets: alerts, still as columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.epochs import EpochRows
from broker_plugin.records import (
    METADATA_COLUMNS,
    Alert,
    AlertBatch,
    Provenance,
    QualityFlag,
    SourceContext,
)
from broker_plugin.surveys.columns import Columns
from broker_plugin.surveys.epochs import LightCurves
from broker_plugin.upper_limits import UpperLimits

__all__ = ["AdaptedAlerts", "lookup", "optional", "taken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptedAlerts:
    """Alerts of one survey as columns, shape (B,) each.

    Parameters
    ----------
    packet
        The packet that each alert was made of. Those that cannot become alerts are not among them.
    metadata
        Values by name, NaN where missing.
    rows, row_alert
        The measurements that the light curves were made of, and the alert of each.
    has_history
        Where those may be joined to the measurements of other packets.
    limits, limit_alert
        Upper limits, and the alert of each; in the order of the alerts.
    """

    survey: str
    packet: NDArray[np.int64]
    alert_id: NDArray[np.int64]
    object_id: Sequence[str]
    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    mjd_tai: NDArray[np.float64]
    curves: LightCurves
    metadata: Mapping[str, NDArray[np.float64]]
    source_context: Sequence[SourceContext]
    provenance: Sequence[Provenance]
    rows: EpochRows
    row_alert: NDArray[np.int64]
    has_history: NDArray[np.bool_]
    limits: UpperLimits = field(default_factory=UpperLimits.empty)
    limit_alert: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def batch(self) -> AlertBatch:
        """Return the alerts as a batch."""
        n = len(self.packet)
        metadata = np.zeros((n, len(METADATA_COLUMNS)), np.float32)
        valid = np.zeros(metadata.shape, np.bool_)
        for name, values in self.metadata.items():
            column = METADATA_COLUMNS.index(name)
            known = valid[:, column] = ~np.isnan(values)
            metadata[known, column] = values[known]
        return AlertBatch(
            survey=(self.survey,) * n,
            alert_id=self.alert_id,
            object_id=tuple(self.object_id),
            ra_deg=self.ra_deg,
            dec_deg=self.dec_deg,
            mjd_tai=self.mjd_tai,
            metadata=metadata,
            metadata_valid=valid,
            epochs=self.curves.epochs,
            offsets=self.curves.offsets,
            spectra=(None,) * n,
            source_context=tuple(self.source_context),
            flags=self._flags(),
            provenance=tuple(self.provenance),
            attachments=({},) * n,
            n_stored_epochs=(None,) * n,
            context_sources=((),) * n,
        )

    def alerts(self) -> list[Alert]:
        """Return the alerts one by one, metadata in full precision and with their measurements."""
        order = np.argsort(self.row_alert, kind="stable")
        ends = np.cumsum(np.bincount(self.row_alert, minlength=len(self.packet))).tolist()
        limits_end = np.cumsum(np.bincount(self.limit_alert, minlength=len(self.packet))).tolist()
        found = []
        for row, (alert, begin, end) in enumerate(zip(self.batch(), [0, *ends], ends, strict=False)):
            values = {name: float(column[row]) for name, column in self.metadata.items()}
            found.append(
                replace(
                    alert,
                    metadata={name: value for name, value in values.items() if not math.isnan(value)},
                    rows=self.rows.take(order[begin:end]) if self.has_history[row] else None,
                    limits=self.limits.take(slice(limits_end[row - 1] if row else 0, limits_end[row])),
                )
            )
        return found

    def _flags(self) -> tuple[tuple[QualityFlag, ...], ...]:
        known = list(self.curves.flags)
        bits = sum(
            (column.astype(np.int64) << place for place, column in enumerate(self.curves.flags.values())),
            np.zeros(len(self.packet), np.int64),
        )
        sets = {
            each: tuple(flag for place, flag in enumerate(known) if each >> place & 1)
            for each in np.unique(bits).tolist()
        }
        return tuple(sets[each] for each in bits.tolist())


def taken(columns: Columns, rows: NDArray[Any]) -> Columns:
    """Return the rows of columns."""
    return {name: column[rows] for name, column in columns.items()}


def optional(values: NDArray[np.float64]) -> list[float | None]:
    """Return values as a list, None in the place of NaN."""
    return [None if value != value else value for value in values.tolist()]


def lookup(codes: NDArray[np.int64], table: Mapping[int, int], default: int) -> NDArray[np.int8]:
    """Return what a table of small numbers says of each code.

    Examples
    --------
    >>> lookup(np.array([2, -1, 10**12]), {1: 5, 2: 7}, -1)
    array([ 7, -1, -1], dtype=int8)
    """
    by_code = np.full(max(table) + 2, default, np.int8)
    by_code[list(table)] = list(table.values())
    return np.asarray(by_code[np.where((codes >= 0) & (codes <= max(table)), codes, max(table) + 1)])
