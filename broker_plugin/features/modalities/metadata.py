# SPDX-License-Identifier: BSD-3-Clause
"""Catalogue values as a single token: for every column its z-score and whether it is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.errors import BundleError
from broker_plugin.features.base import Modality, Tokens
from broker_plugin.features.period import Periods
from broker_plugin.records import METADATA_COLUMNS, AlertBatch

__all__ = ["TRANSFORMS", "Column", "Metadata", "build", "column_values"]

FloatArray = NDArray[np.float64]

TRANSFORMS: Mapping[str, Callable[[FloatArray], FloatArray]] = MappingProxyType(
    {
        "identity": lambda values: values,
        "abs_sin_deg": lambda values: np.abs(np.sin(np.deg2rad(values))),
        "log1p": lambda values: np.log1p(np.maximum(values, 0.0)),
    }
)
"""What may be done to a column before its z-score, by the name in the spec."""

Z_MAX = 5.0
"""Largest z-score: a magnitude far outside the training sample is "very faint", not to be extrapolated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One catalogue column that a bundle's encoder reads, or the difference of two: a colour.

    Parameters
    ----------
    minus
        Column to subtract; the value is known where both are.
    """

    name: str
    minus: str | None = None
    transform: str
    mean: float
    std: float


def build(spec: Mapping[str, Any]) -> Modality:
    """Return the modality; `spec["columns"]` lists name, transform, mean and std of each column read.

    With `minus`, another column is subtracted first.

    Raises
    ------
    BundleError
        If the bundle reads a column or a transform that this version does not have.
    """
    columns = tuple(
        Column(
            name=column["name"],
            minus=column.get("minus"),
            transform=column["transform"],
            mean=column["mean"],
            std=column["std"],
        )
        for column in spec["columns"]
    )
    for column in columns:
        known = {column.name, column.minus or column.name} <= set(METADATA_COLUMNS)
        if not known or column.transform not in TRANSFORMS:
            raise BundleError(
                f"the bundle reads {column.transform}({column.name}), which this version does not have",
                remedy="upgrade astrom3-broker or choose another bundle",
            )
    return Metadata(columns)


class Metadata:
    """Catalogue values as a token of 2 M channels: M z-scores (0 where unknown), M times known or not."""

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self.name = "metadata"
        self.width = 2 * len(columns)
        self.longest = 1
        self.columns = columns

    def tokens(self, batch: AlertBatch, periods: Periods) -> Tokens:
        """Return one token for each alert of which at least one column is known."""
        scores = np.zeros((len(batch), len(self.columns)))
        known = np.zeros(scores.shape, np.bool_)
        for position, column in enumerate(self.columns):
            values, known[:, position] = column_values(batch, column.name, column.minus)
            values = TRANSFORMS[column.transform](values)
            scores[:, position] = np.clip((values - column.mean) / column.std, -Z_MAX, Z_MAX)
        tokens = np.concatenate([np.where(known, scores, 0.0), known], axis=1).astype(np.float32)
        present = known.any(axis=1)
        offsets = np.concatenate([[0], np.cumsum(present)]).astype(np.int64)
        return Tokens(values=tokens[present], offsets=offsets)


def column_values(
    batch: AlertBatch, name: str, minus: str | None = None
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return a column of a batch, or the difference of two, and where it is known; shape (B,) each."""
    source = METADATA_COLUMNS.index(name)
    values, known = batch.metadata[:, source].astype(np.float64), batch.metadata_valid[:, source]
    if minus is None:
        return values, known
    other = METADATA_COLUMNS.index(minus)
    return values - batch.metadata[:, other], known & batch.metadata_valid[:, other]
