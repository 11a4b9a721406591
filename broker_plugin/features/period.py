# SPDX-License-Identifier: BSD-3-Clause
"""Period search over the light curves of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["N_ALIASES", "Periods"]

N_ALIASES = 2
"""How many further peaks are kept. For 92 % of Catalina's variables the strongest peak is the period or half
of it, and for 97 % one of the three strongest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """Result of the search for each alert of a batch.

    Parameters
    ----------
    searched
        Where there were epochs enough to search; the other columns are 0 elsewhere. Shape (B,).
    period_day
        Period of the strongest peak.
    false_alarm_probability
        Probability of so strong a peak in noise alone.
    aliases_day
        Periods of the next strongest separate peaks, 0 where there are fewer; shape (B, N_ALIASES).
    n_epochs
        Epochs that were searched.
    """

    searched: NDArray[np.bool_]
    period_day: NDArray[np.float64]
    false_alarm_probability: NDArray[np.float64]
    aliases_day: NDArray[np.float64]
    n_epochs: NDArray[np.int64]
