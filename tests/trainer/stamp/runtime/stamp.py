# SPDX-License-Identifier: BSD-3-Clause
"""A fourth modality for a test: a small difference image as one token of its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from broker_plugin.features.base import Modality, Tokens
from broker_plugin.features.period import Periods
from broker_plugin.records import AlertBatch


def build(spec: Mapping[str, Any]) -> Modality:
    """Return the modality; `spec` holds `side`, the pixels along an edge."""
    return Stamp(side=int(spec["side"]))


class Stamp:
    """Stamps of `side` by `side` pixels over their own brightest."""

    def __init__(self, *, side: int) -> None:
        self.name = "stamp"
        self.width = side * side
        self.longest = 1

    def tokens(self, batch: AlertBatch, periods: Periods) -> Tokens:
        """Return one token for each alert with a stamp."""
        stamps = [each["stamp"].values.reshape(-1) for each in batch.attachments if "stamp" in each]
        values = np.array(stamps, np.float32).reshape(-1, self.width)
        values /= np.abs(values).max(axis=1, keepdims=True, initial=1e-6)
        present = np.array(["stamp" in each for each in batch.attachments], np.int64)
        return Tokens(values=values, offsets=np.concatenate([[0], np.cumsum(present)]).astype(np.int64))
