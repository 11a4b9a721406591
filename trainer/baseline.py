# SPDX-License-Identifier: BSD-3-Clause
"""Baselines on the very same alerts: the commonest class, and a random forest on hand-made features."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from broker_plugin.features.base import Tokens
from broker_plugin.features.modalities.photometry import CHANNELS
from trainer.sets import ExampleSet

__all__ = ["fit_forest", "summary"]

TREES, LEAF_MIN, ROWS_MAX = 200, 5, 60_000
"""A forest that a minute can grow; more trees, smaller leaves or more rows changed little."""

TOKENS_READ = 4
"""Of a light curve in tokens: the one that sums it up and three candidate periods."""

_EPOCH_CHANNELS = ("shape", "fraction", "significance", "log_relative_error", "log_age", "forced", "apparent")
_ALERT_CHANNELS = CHANNELS[CHANNELS.index("log_scatter") :]


def summary(tokens: Mapping[str, Tokens]) -> NDArray[np.float32]:
    """Return hand-made features of alerts (B, F).

    Moments and extremes of the epochs' channels, the alert's own channels (period, significance, scatter,
    span, number of epochs), amplitudes of the first harmonics at the period; of a light curve in a few tokens
    the first ones as they are; of every other modality the mean of its tokens, and their spread where there
    can be several.
    """
    of = {"photometry": _of_light_curves, "light_curve": _first_tokens}
    return np.concatenate([of.get(name, _dense)(part) for name, part in tokens.items()], axis=1)


def fit_forest(examples: list[ExampleSet], *, seed: int) -> RandomForestClassifier:
    """Fit the random forest on training alerts, in the shares that the classes have there."""
    features = np.concatenate([summary(part.tokens) for part in examples])[:ROWS_MAX]
    label = np.concatenate([part.label for part in examples])[:ROWS_MAX]
    forest = RandomForestClassifier(TREES, min_samples_leaf=LEAF_MIN, random_state=seed, n_jobs=1)
    return forest.fit(features, label)


def _of_light_curve(tokens: Tokens, row: int) -> NDArray[np.float64]:
    values = tokens.values[tokens.offsets[row] : tokens.offsets[row + 1]].astype(np.float64)
    epochs = values[:, [CHANNELS.index(name) for name in _EPOCH_CHANNELS]]
    alert = values[0, [CHANNELS.index(name) for name in _ALERT_CHANNELS]]
    shape = values[:, CHANNELS.index("shape")]
    centred = shape - shape.mean()
    spread = max(float(centred.std()), 1e-3)
    cos, sin = values[:, CHANNELS.index("cos_half_phase")], values[:, CHANNELS.index("sin_half_phase")]
    angle = np.arctan2(sin, cos)
    harmonics = [abs(np.mean(centred * np.exp(1j * k * angle))) / spread for k in (1, 2, 3, 4, 6)]
    moments = [
        epochs.mean(axis=0),
        epochs.std(axis=0),
        epochs.min(axis=0),
        epochs.max(axis=0),
        epochs[-1],
        [np.mean((centred / spread) ** 3), np.mean((centred / spread) ** 4)],
        harmonics,
        alert,
    ]
    return np.concatenate(moments)


def _of_light_curves(tokens: Tokens) -> NDArray[np.float32]:
    rows = {row: _of_light_curve(tokens, row) for row in np.flatnonzero(tokens.lengths).tolist()}
    features = np.zeros((len(tokens.lengths), len(next(iter(rows.values())))), np.float32)
    features[list(rows)] = list(rows.values())
    return features


def _first_tokens(tokens: Tokens) -> NDArray[np.float32]:
    """Return the first tokens of each alert side by side, 0 where it has fewer."""
    n, width = len(tokens.lengths), tokens.values.shape[1]
    values = np.zeros((n, TOKENS_READ, width), np.float32)
    for position in range(TOKENS_READ):
        there = np.flatnonzero(tokens.lengths > position)
        values[there, position] = tokens.values[tokens.offsets[there] + position]
    return values.reshape(n, TOKENS_READ * width)


def _dense(tokens: Tokens) -> NDArray[np.float32]:
    """Return the mean of an alert's tokens, then their spread if any alert has several; 0 without any."""
    lengths = tokens.lengths
    row = np.repeat(np.arange(len(lengths)), lengths)
    mean = _mean(tokens.values, row, lengths)
    if lengths.max(initial=0) <= 1:
        return mean
    return np.concatenate([mean, np.sqrt(_mean((tokens.values - mean[row]) ** 2, row, lengths))], axis=1)


def _mean(
    values: NDArray[np.float32], row: NDArray[np.intp], lengths: NDArray[np.int64]
) -> NDArray[np.float32]:
    total = np.zeros((len(lengths), values.shape[1]))
    np.add.at(total, row, values)
    return (total / np.maximum(lengths, 1)[:, None]).astype(np.float32)
