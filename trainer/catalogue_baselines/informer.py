# SPDX-License-Identifier: BSD-3-Clause
"""The paper's architecture as a baseline: its Informer, trained on the run's light curves by its own loop.

Light curves alone, since these stars have neither spectra nor the 34 catalogue columns. The four constants of
an object are computed from the epochs that a setting shows: amplitude, period (of the search, or the
catalogue's in the setting that gives it) and the string length of the fold; the survey's own score of its
fit (`rfr_score`) does not exist here and is the mean throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from broker_plugin.features.period import find_periods
from broker_plugin.records import Alert, AlertBatch
from trainer.astrom3.checkpoint import load_checkpoint
from trainer.astrom3.config import N_WAVELENGTHS
from trainer.astrom3.data import Objects
from trainer.astrom3.model import new_model
from trainer.astrom3.objective import classify
from trainer.astrom3.preprocess import N_CHANNELS, UnusableInput, light_curve_rows
from trainer.astrom3.recipes import Recipe, recipe
from trainer.astrom3.scaler import META_COLUMNS
from trainer.astrom3.scoring import probabilities
from trainer.astrom3.training import BEST, Outcome, Running, Views, fit
from trainer.data.unsorted import Unsorted
from trainer.predictions import MERGED, Predictions
from trainer.star_settings import alerts_of

__all__ = [
    "SHARES",
    "Constants",
    "InformerRun",
    "ask",
    "constants_of",
    "mixed_alerts",
    "mixed_objects",
    "objects_of",
    "parts_of",
    "string_length",
    "train_informer",
]

FloatArray = NDArray[np.float64]

BATCH = 128
"""Objects in a batch; the paper's 512 want 6 GB and take as many passes for a quarter of the steps."""

EPOCH_STEPS = 30
"""Steps of an epoch of the paper: 15,000 objects in batches of 512."""

JD_OF_MJD = 2_400_000.5

CHUNK = 500
"""Alerts whose periods are searched at once."""

SHARES = {"all": 0.3, "period": 0.15, "100": 0.15, "30": 0.15, "10": 0.1, "packet": 0.1, "3": 0.03, "1": 0.02}
"""How often a training star is seen in each setting, so that one model answers in all of them. The setting is
drawn anew in every pass: with one for good, most stars would never be seen whole or with their period."""

N_COLUMNS = 3
"""Amplitude in magnitudes, log10 of the period in days, string length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """Mean and spread of the object's constants over the training objects; shape (3,) each."""

    mean: FloatArray
    std: FloatArray

    @classmethod
    def of(cls, columns: FloatArray) -> Constants:
        """Return those of training objects (B, 3), NaN where a value is not known."""
        return cls(mean=np.nanmean(columns, axis=0), std=np.maximum(np.nanstd(columns, axis=0), 1e-6))

    def scaled(self, columns: FloatArray) -> FloatArray:
        """Return the four scaled constants of each object (B, 4): what is unknown is the mean, 0."""
        scores = (columns - self.mean) / self.std
        scores = np.where(np.isfinite(scores), scores, 0.0)
        return np.concatenate([scores, np.zeros((len(scores), 1))], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class InformerRun:
    """Where a training lies, how long it may be and where it runs.

    Parameters
    ----------
    parts
        Epochs that a pass is cut into; see `parts_of`.
    layers
        In place of the paper's eight; None for those.
    """

    folder: Path
    passes: int
    seed: int
    parts: int
    device: str = "cpu"
    layers: int | None = None

    @property
    def running(self) -> Running:
        """How the paper's loop is carried out."""
        return Running(
            epochs_max=self.passes * self.parts,
            batch_size=BATCH,
            device=self.device,
            layers=self.layers,
            parts=self.parts,
        )

    @property
    def recipe(self) -> Recipe:
        """The paper's recipe for light curves, with a learning rate for the smaller batch."""
        paper = recipe("photometry", "full", clip=False)
        scale = float(np.sqrt(BATCH / paper.batch_size))
        return replace(
            paper,
            learning_rate=paper.learning_rate * scale,
            warmup_epochs=min(paper.warmup_epochs, max(self.passes * self.parts // 2, 1)),
            epochs=self.passes * self.parts,
        )


def parts_of(n_objects: int) -> int:
    """Return the number of epochs that a pass is cut into, so that each has as many steps as the paper's.

    Examples
    --------
    >>> parts_of(20_000)
    5
    """
    return max(n_objects // BATCH // EPOCH_STEPS, 1)


def train_informer(
    run: InformerRun,
    train: Objects,
    validation: Objects,
    *,
    views: Views,
    on_epoch: Callable[[Any], None] = lambda record: None,
) -> Outcome:
    """Train the Informer on one view of each star a pass, or go on with a training that was stopped.

    Parameters
    ----------
    train, views
        The training stars as the first pass sees them, and as later ones do by their number.
    on_epoch
        Called after each part of a pass.
    """
    torch.manual_seed(run.seed)
    config = run.recipe.config(
        "photometry", classes=len(MERGED), classification=True, layers=run.running.depth
    )
    model = new_model(config)
    return fit(
        model,
        run.recipe,
        classify,
        train,
        validation,
        modality="photometry",
        seed=run.seed,
        folder=run.folder,
        running=run.running,
        views=views,
        on_epoch=on_epoch,
    )


def ask(run: InformerRun, objects: Objects) -> Predictions:
    """Return what the best epoch's model says; strange is where its largest probability is small."""
    model = load_checkpoint(run.folder / BEST)
    probability = probabilities(model, objects, "photometry", running=run.running)
    return Predictions(
        probability=probability,
        anomaly_score=1.0 - probability.max(axis=1),
        anomaly_p_value=np.full(len(probability), np.nan),
    )


def mixed_alerts(stars: Unsorted, *, seed: int, number: int = 0) -> list[Alert]:
    """Return one alert of each star, in a setting drawn by `SHARES`, anew for each number of a pass."""
    rng = np.random.default_rng((seed, 31, number))
    drawn = rng.choice(len(SHARES), len(stars.star_id), p=list(SHARES.values()))
    alerts: dict[int, Alert] = {}
    for code, setting in enumerate(SHARES):
        rows = np.flatnonzero(drawn == code).astype(np.int64)
        alerts |= dict(zip(rows.tolist(), alerts_of(stars, setting, rows), strict=True))
    return [alerts[row] for row in range(len(alerts))]


def mixed_objects(
    stars: Unsorted, label: NDArray[np.int64], constants: Constants, *, seed: int, number: int = 0
) -> Objects:
    """Return stars as the paper's loop takes them, each in the setting that is drawn for a pass.

    Parameters
    ----------
    label
        Positions in `MERGED`.
    """
    alerts = mixed_alerts(stars, seed=seed, number=number)
    return objects_of(alerts, constants_of(alerts), constants, label)


def constants_of(alerts: Sequence[Alert], *, advance: Callable[[int], None] = lambda n: None) -> FloatArray:
    """Return amplitude, log10 of the period and string length (B, 3), NaN where there is none."""
    parts = [np.zeros((0, N_COLUMNS))]
    for start in range(0, len(alerts), CHUNK):
        part = alerts[start : start + CHUNK]
        frequency = find_periods(AlertBatch.from_alerts(part)).frequency_per_day[:, 0]
        parts.append(
            np.array([_constants(alert, float(each)) for alert, each in zip(part, frequency, strict=True)])
        )
        advance(len(part))
    return np.concatenate(parts)


def objects_of(
    alerts: Sequence[Alert], columns: FloatArray, constants: Constants, label: NDArray[np.int64]
) -> Objects:
    """Return alerts as the paper's loop takes them.

    Parameters
    ----------
    columns
        As of `constants_of`.
    label
        Positions in `MERGED`.
    """
    rows = [_rows(alert, each) for alert, each in zip(alerts, constants.scaled(columns), strict=True)]
    n = len(rows)
    return Objects(
        rows=np.concatenate(rows),
        offsets=np.concatenate([[0], np.cumsum([len(each) for each in rows])]).astype(np.int64),
        spectra=np.zeros((n, 0, N_WAVELENGTHS), np.float32),
        metadata=np.zeros((n, len(META_COLUMNS)), np.float32),
        label=label,
        classes=tuple(MERGED),
    )


def string_length(phase: FloatArray, value: FloatArray) -> float:
    """Return Lafler & Kinman's statistic of a fold: near 0 for a clean one, near 1 for noise.

    Examples
    --------
    >>> phase = np.linspace(0, 1, 100, endpoint=False)
    >>> string_length(phase, np.sin(2 * np.pi * phase)) < 0.01
    True
    """
    ordered = value[np.argsort(phase, kind="stable")]
    spread = float(((ordered - ordered.mean()) ** 2).sum())
    if spread <= 0:
        return 1.0
    return float((np.diff(ordered, append=ordered[0]) ** 2).sum() / (2 * spread))


def _constants(alert: Alert, frequency_per_day: float) -> tuple[float, ...]:
    curve = alert.light_curve
    bright = curve.flux_njy > 0
    if not bright.any():
        return (np.nan,) * N_COLUMNS
    mag = -2.5 * np.log10(curve.flux_njy[bright].astype(np.float64))
    low, high = np.quantile(mag, [0.05, 0.95])
    period_day = alert.metadata.get("catalogue_period_day") or (
        1.0 / frequency_per_day if frequency_per_day > 0 else np.nan
    )
    if not np.isfinite(period_day):
        return float(high - low), np.nan, np.nan
    turns = curve.mjd_tai[bright] / period_day
    return float(high - low), float(np.log10(period_day)), string_length(turns - np.floor(turns), mag)


def _rows(alert: Alert, constants: FloatArray) -> NDArray[np.float32]:
    curve = alert.light_curve
    try:
        return light_curve_rows(
            curve.mjd_tai + JD_OF_MJD,
            curve.flux_njy.astype(np.float64),
            curve.flux_err_njy.astype(np.float64),
            constants,
            guard=True,
            single_precision_time=False,
        )
    except UnusableInput:  # no epoch at all: one row of nothing, which is what padding looks like
        return np.zeros((1, N_CHANNELS), np.float32)
