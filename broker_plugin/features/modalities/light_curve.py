# SPDX-License-Identifier: BSD-3-Clause
"""The light curve in a few tokens: one that sums it up, then one for each candidate period.

The first token holds how the light curve varies and the highest power of its periodogram in bins of
frequency; the others hold the shape of the fold and the evidence for its period. Their number does not grow
with the number of epochs, so the encoder's cost does not either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.errors import BundleError
from broker_plugin.features.base import Modality, Tokens
from broker_plugin.features.folding import N_HARMONICS, N_PHASES, SERIES, Folds, fold
from broker_plugin.features.period import N_CANDIDATES, N_SPECTRUM_BINS, Periods, catalogue_periods
from broker_plugin.features.searched import searched_epochs
from broker_plugin.features.second_period import COLUMNS as SECOND_COLUMNS
from broker_plugin.features.second_period import second_periods
from broker_plugin.features.variability import COLUMNS, variability
from broker_plugin.records import AlertBatch

__all__ = [
    "CANDIDATE_WIDTH",
    "MAX_TOKENS",
    "SUMMARY_WIDTH",
    "Z_LINEAR",
    "LightCurveTokens",
    "build",
    "compressed",
]

FloatArray = NDArray[np.float64]

SUMMARY_WIDTH = len(COLUMNS) + len(SECOND_COLUMNS) + N_SPECTRUM_BINS
"""Channels that the first token uses; they come first."""

N_EVIDENCE = 11 + len(SERIES)
N_RELATIVE = 8
CANDIDATE_WIDTH = N_EVIDENCE + N_RELATIVE + N_HARMONICS + 2 * N_PHASES
"""Channels that the other tokens use; they come after those of the first."""

MAX_TOKENS = 1 + N_CANDIDATES + 1
"""One that sums up, the candidates, and a catalogue's period."""

DAILY_MARGIN_PER_DAY = 0.05
"""Within this of a whole number of cycles a day a frequency may be the alias of a slow variation."""

BOUND = 10.0
"""Largest value of a channel, far above what any star gives."""

Z_LINEAR = 4.0
"""Beyond this many standard deviations z-scores grow as the logarithm only: what lies far outside the
training sample is not to be extrapolated, yet must stay apart from what lies at its edge."""


def build(spec: Mapping[str, Any]) -> Modality:
    """Return the modality; `spec` holds `mean` and `std` of every channel over the tokens that use it.

    Raises
    ------
    BundleError
        If they are missing, or not one for each channel.
    """
    width = SUMMARY_WIDTH + CANDIDATE_WIDTH
    scalers = [np.array(spec.get(name, ()), np.float64) for name in ("mean", "std")]
    if any(scaler.shape != (width,) for scaler in scalers):
        raise BundleError(
            f"the bundle's light_curve modality needs {width} means and spreads",
            remedy="export it again, or choose another bundle",
        )
    return LightCurveTokens(*scalers)


def compressed(scores: FloatArray) -> FloatArray:
    """Return z-scores that grow as the logarithm beyond `Z_LINEAR`.

    Examples
    --------
    >>> compressed(np.array([-4.0, 2.0, 4.0, 4.0 + np.e - 1]))
    array([-4.,  2.,  4.,  5.])
    """
    beyond = np.maximum(np.abs(scores) - Z_LINEAR, 0.0)
    return np.asarray(np.clip(scores, -Z_LINEAR, Z_LINEAR) + np.sign(scores) * np.log1p(beyond))


class LightCurveTokens:
    """Tokens of `SUMMARY_WIDTH` and `CANDIDATE_WIDTH` channels side by side, as z-scores."""

    def __init__(self, mean: FloatArray, std: FloatArray) -> None:
        self.name = "light_curve"
        self.width = SUMMARY_WIDTH + CANDIDATE_WIDTH
        self.longest = MAX_TOKENS
        self._mean = mean
        self._std = std

    def tokens(self, batch: AlertBatch, periods: Periods) -> Tokens:
        """Return the tokens of every alert that has an epoch."""
        period_day = catalogue_periods(batch)
        frequency = np.divide(1.0, period_day, out=np.zeros_like(period_day), where=period_day > 0)
        epochs = searched_epochs(batch)
        folds = fold(epochs, periods, frequency)
        present = batch.n_epochs > 0
        lengths = np.where(present, 1 + np.bincount(folds.row, minlength=len(batch)), 0)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        values = np.zeros((int(offsets[-1]), self.width), np.float32)
        summary = np.concatenate(
            [variability(batch), second_periods(epochs, folds), periods.spectrum], axis=1
        )
        first, rest = slice(0, SUMMARY_WIDTH), slice(SUMMARY_WIDTH, None)
        values[offsets[:-1][present], first] = self._scaled(summary[present], first)
        kept = present[folds.row]
        position = np.arange(len(folds.row)) - np.searchsorted(folds.row, folds.row)
        place = offsets[:-1][folds.row] + 1 + position
        values[place[kept], rest] = self._scaled(_candidates(folds, periods)[kept], rest)
        return Tokens(values=values, offsets=offsets)

    def _scaled(self, values: FloatArray, channels: slice) -> FloatArray:
        return compressed((values - self._mean[channels]) / self._std[channels])


def _candidates(folds: Folds, periods: Periods) -> FloatArray:
    """Return the channels of the folds; shape (P, CANDIDATE_WIDTH)."""
    frequency, given = folds.frequency_per_day, folds.rank == N_CANDIDATES
    strongest = np.maximum(periods.power[folds.row, 0], 1e-6)
    amplitude = np.hypot(folds.cosine, folds.sine)
    n = folds.n_epochs
    explained = np.maximum(n, 1) * (1 - folds.left[:, 0]) / np.maximum(folds.left[:, 0], 1e-3)
    evidence = [
        np.log10(np.maximum(frequency, 1e-4)),
        folds.power,
        folds.power / strongest,
        np.where(given, 0.0, folds.rank / N_CANDIDATES),
        given,
        np.minimum(np.abs(frequency - np.round(frequency)), DAILY_MARGIN_PER_DAY) / DAILY_MARGIN_PER_DAY,
        np.minimum(frequency * folds.span_day, 200.0) / 100.0,
        folds.filled,
        np.log10(np.maximum(explained / (2 * N_HARMONICS + 1), 1e-2)),
        np.log10(np.maximum(n, 1)),
        amplitude[:, ::2].sum(axis=1) / np.maximum(amplitude.sum(axis=1), 1e-6),
        *np.log10(np.maximum(folds.left, 1e-4)).T,
    ]
    channels = np.concatenate(
        [
            np.stack(evidence, axis=1),
            _relative_phases(folds),
            np.arcsinh(3 * amplitude),
            folds.curve,
            folds.binned,
        ],
        axis=1,
    )
    return np.asarray(np.clip(channels, -BOUND, BOUND))


def _relative_phases(folds: Folds) -> FloatArray:
    """Return cosine and sine of the phases of harmonics relative to the candidate's own (Simon & Lee 1981).

    Harmonics 4, 6 and 8 of half the frequency are the second, third and fourth of the candidate; the pair of
    the first and second tells two unequal minima from two equal ones.
    """
    phase = np.arctan2(-folds.sine, folds.cosine)
    own = phase[:, 1]
    angles = [phase[:, 2 * k - 1] - k * own for k in (2, 3, 4)] + [own - 2 * phase[:, 0]]
    return np.stack([part for angle in angles for part in (np.cos(angle), np.sin(angle))], axis=1)
