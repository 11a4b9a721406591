# SPDX-License-Identifier: BSD-3-Clause
"""Identifiers of the rows of a file, each of which names one row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from broker_plugin.errors import ConfigurationError

__all__ = ["check_ids"]


def check_ids(path: Path, column: str) -> None:
    """Make sure that every row has an id that no other row has.

    Raises
    ------
    ConfigurationError
        If one has none, or several have the same.
    """
    ids = pq.read_table(path, columns=[column])[column]
    absent = np.flatnonzero(ids.is_null(nan_is_null=True).to_numpy())
    if len(absent):
        raise ConfigurationError(
            f"{path}: row {absent[0] + 1} has no {column}; give every row one of its own"
        )
    name, number = Counter(ids.to_pylist()).most_common(1)[0] if len(ids) else ("", 0)
    if number > 1:
        raise ConfigurationError(
            f"{path}: {number} rows have the {column} {name}; give every row one of its own"
        )
