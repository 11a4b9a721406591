# SPDX-License-Identifier: BSD-3-Clause
"""Plain periodograms and peaks, one light curve after the other: what the fast ones are compared with."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from nifty_ls import lombscargle
from numpy.typing import NDArray

from broker_plugin.features.period import (
    MAX_FREQUENCY_PER_DAY,
    MIN_FREQUENCIES,
    N_CANDIDATES,
    N_SPECTRUM_BINS,
    SAMPLES_PER_PEAK,
    SPECTRUM_EDGES,
)

__all__ = ["Trial", "fitted", "least_norm", "nifty", "plain_peaks", "trials"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The trial frequencies of a light curve."""

    lowest: float
    step: float
    n: int

    @property
    def frequency_per_day(self) -> FloatArray:
        return self.lowest + self.step * np.arange(self.n)


def trials(age_day: FloatArray) -> Trial:
    span = float(age_day.max() - age_day.min())
    step = 1.0 / (SAMPLES_PER_PEAK * span)
    return Trial(lowest=0.5 / span, step=step, n=max(MIN_FREQUENCIES, int(MAX_FREQUENCY_PER_DAY / step)))


def nifty(age_day: FloatArray, deviation: FloatArray, error: FloatArray) -> FloatArray:
    """The periodogram by nifty-ls."""
    trial = trials(age_day)
    time_day = age_day.max() - age_day
    order = np.argsort(time_day, kind="stable")
    result = lombscargle(
        time_day[order],
        deviation[order],
        error[order],
        fmin=trial.lowest,
        fmax=trial.lowest + trial.step * (trial.n - 1),
        Nf=trial.n,
        backend="finufft",
        nthreads=1,
    )
    return np.clip(np.nan_to_num(result.power, nan=0.0, posinf=0.0, neginf=0.0), 0.0, 1.0)


def fitted(age_day: FloatArray, deviation: FloatArray, error: FloatArray, at: FloatArray) -> FloatArray:
    """The share of the variance that the best sinusoid takes away, by an orthogonal basis of its waves."""
    basis, norm, target = _decomposed(age_day, deviation, error, at)
    part = np.einsum("fnk,n->fk", basis, target)
    return np.asarray((np.where(norm > 1e-13, part**2, 0.0)).sum(axis=1) / (target @ target))


def least_norm(age_day: FloatArray, error: FloatArray, at: FloatArray) -> FloatArray:
    """The variance of the weaker of the two waves: how well both can be told apart."""
    return np.asarray(_decomposed(age_day, np.ones_like(age_day), error, at)[1].min(axis=1))


def _decomposed(
    age_day: FloatArray, deviation: FloatArray, error: FloatArray, at: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    weight = error**-2.0
    weight /= weight.sum()
    turns = at[:, None] * (age_day.max() - age_day)
    angle = 2 * np.pi * (turns - np.floor(turns))
    waves = np.stack([np.cos(angle), np.sin(angle)], axis=2)
    waves -= (weight[:, None] * waves).sum(axis=1, keepdims=True)
    basis, size, _ = np.linalg.svd(np.sqrt(weight)[:, None] * waves, full_matrices=False)
    return basis, size**2, np.sqrt(weight) * (deviation - weight @ deviation)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainPeaks:
    place: list[int]
    frequency_per_day: FloatArray
    power: FloatArray
    spectrum: FloatArray
    false_alarm_probability: float


def plain_peaks(power: FloatArray, age_day: FloatArray) -> PlainPeaks:
    """The peaks of a periodogram, by sorting all of its local maxima."""
    trial = replace(trials(age_day), n=len(power))
    padded = np.concatenate([[-1.0], power, [-1.0]])
    maxima = np.flatnonzero((power > padded[:-2]) & (power >= padded[2:]) & (power > 0))
    place: list[int] = []
    for candidate in maxima[np.argsort(-power[maxima], kind="stable")].tolist():
        if all(abs(candidate - other) > SAMPLES_PER_PEAK for other in place):
            place.append(candidate)
        if len(place) == N_CANDIDATES:
            break
    bins = np.searchsorted(SPECTRUM_EDGES, trial.frequency_per_day, side="right") - 1
    spectrum = np.zeros(N_SPECTRUM_BINS)
    inside = (bins >= 0) & (bins < N_SPECTRUM_BINS)
    np.maximum.at(spectrum, bins[inside], power[inside])
    vertices = []
    for peak in place:
        if 0 < peak < len(power) - 1:
            before, top, after = power[peak - 1 : peak + 2]
            vertices.append(peak + 0.5 * (before - after) / (before - 2 * top + after))
        else:
            vertices.append(peak)
    return PlainPeaks(
        place=place,
        frequency_per_day=trial.lowest + trial.step * np.array(vertices),
        power=power[place],
        spectrum=spectrum,
        false_alarm_probability=_baluev(power[place[0]], age_day) if place else 0.0,
    )


def _baluev(power: float, age_day: FloatArray) -> float:
    n = len(age_day)
    left = 1 - min(power, 1 - 1e-15)
    single = left ** ((n - 3) / 2)
    gamma = math.sqrt(2 / (n - 1)) * math.exp(math.lgamma((n - 1) / 2) - math.lgamma((n - 2) / 2))
    bandwidth = MAX_FREQUENCY_PER_DAY * math.sqrt(4 * math.pi * float(np.var(age_day)))
    tau = gamma * bandwidth * left ** ((n - 4) / 2) * math.sqrt((n - 1) / 2 * power)
    return 1 - (1 - single) * math.exp(-tau)
