# SPDX-License-Identifier: BSD-3-Clause
"""Made-up oddities, shown to the model in training beside ordinary stars.

Outlier exposure (Hendrycks et al. 2019, arXiv:1812.04606): a model that has seen generic oddities tells
others from ordinary stars as well, kinds that it was never shown. So the shapes are crude on purpose, and
none is fitted to a source that the scores are measured on (`trainer/odd.py`, the held-out classes). A second
period was chosen in the knowledge that double-mode RR Lyrae stars, one of those classes, were being missed.

Each is a factor by which the flux of a star changes with time, so one function serves observed epochs and
imitated surveys alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from trainer.data.stars import N_PHASES, StarTable

__all__ = ["MIN_EPOCHS", "ODDITIES", "UNASKED", "Host", "Oddity", "odd_factor", "odd_flux"]

FloatArray = NDArray[np.float64]


class Oddity(IntEnum):
    """What a training light curve was made into; `ORDINARY` ones are left as they are."""

    ORDINARY = 0
    TWO_PERIODS = 1
    OTHER_PERIOD = 2
    EVENT = 3
    GLITCH = 4


ODDITIES: tuple[str, ...] = tuple(oddity.name.lower() for oddity in Oddity)
"""Names of the outputs of the model's second head, in order."""

UNASKED = -1
"""In the place of an oddity: nothing is to be learned from whether this alert is odd."""

MIN_EPOCHS = 5
"""With fewer epochs there is nothing to see of an oddity."""

EVENT_MAG = (0.2, 5.0)
"""Range of the largest change of an event, uniform in the logarithm: from what photometry of 0.1 mag just
shows to the outburst of a dwarf nova."""

SHORTEST_EVENT_DAY = 0.01
"""A quarter of an hour, the time between exposures of one visit."""

LEAST_CHANGE_MAG = 0.1
"""An epoch counts as changed from here on, and an event changes two at least."""

TRIES = 20
"""Draws until an event falls onto two epochs; the last is taken in any case."""

PERIOD_RANGE_DAY = (0.03, 1000.0)
"""Periods that a light curve is given in place of its own."""

OWN_PERIODS = (0.02, 0.98)
"""Quantiles of a class's periods between which a period is no oddity for it."""

RELATIVE_AMPLITUDE = (0.25, 1.2)
"""Amplitude of a second variation relative to the star's own, uniform in the logarithm."""

LEAST_RELATIVE_ERROR = 0.01
"""Errors of brightened epochs do not fall below this share of the flux."""


@dataclass(frozen=True, slots=True)
class Host:
    """The star that is made odd, and those of its split, whose light and periods may serve for it."""

    stars: StarTable
    star: int
    peers: NDArray[np.int64]


def odd_factor(oddity: Oddity, mjd: FloatArray, host: Host, rng: np.random.Generator) -> FloatArray:
    """Return the factor (T,) by which an oddity changes the flux of a star at the times `mjd`."""
    return _FACTORS[oddity](mjd, host, rng)


def odd_flux(
    oddity: Oddity,
    mjd: FloatArray,
    flux: FloatArray,
    flux_err: FloatArray,
    host: Host,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Return observed fluxes and errors as an oddity would have made them.

    Errors follow the root of the flux, as photon noise does; where a star fades, the noise that its epochs
    then lack is added.
    """
    factor = odd_factor(oddity, mjd, host, rng)
    error = np.maximum(flux_err * np.sqrt(factor), LEAST_RELATIVE_ERROR * np.abs(flux) * factor)
    lacking = np.sqrt(np.maximum(error**2 - (flux_err * factor) ** 2, 0.0))
    return flux * factor + lacking * rng.standard_normal(len(mjd)), error


def _two_periods(mjd: FloatArray, host: Host, rng: np.random.Generator) -> FloatArray:
    """Return the variation of another star on top: a blend, or a second mode."""
    stars, star = host.stars, host.star
    donor = int(rng.choice(host.peers))
    profile = stars.profile[donor].astype(np.float64)
    own, other = np.ptp(stars.profile[star]), max(float(np.ptp(profile)), 1e-3)
    scale = float(np.exp(rng.uniform(*np.log(RELATIVE_AMPLITUDE)))) * float(own) / other
    if rng.random() < 0.5:
        period_day = float(stars.period_day[donor])
    else:
        period_day = float(stars.period_day[star]) * float(np.exp(rng.uniform(-2.0, 2.0)))
    light = _folded(profile * scale, mjd, period_day, rng.random())
    return np.maximum(1 + light, 0.05)


def _other_period(mjd: FloatArray, host: Host, rng: np.random.Generator) -> FloatArray:
    """Return the star's own variation at a period that its class does not have."""
    stars, star = host.stars, host.star
    alike = host.peers[stars.label[host.peers] == stars.label[star]]
    low, high = np.quantile(stars.period_day[alike], OWN_PERIODS)
    period_day = float(np.exp(rng.uniform(*np.log(PERIOD_RANGE_DAY))))
    while low <= period_day <= high:
        period_day = float(np.exp(rng.uniform(*np.log(PERIOD_RANGE_DAY))))
    profile = stars.profile[star].astype(np.float64)
    own = _folded(profile, mjd, float(stars.period_day[star]), 0.0)
    return np.maximum(1 + _folded(profile, mjd, period_day, rng.random()), 0.05) / np.maximum(1 + own, 0.05)


def _event(mjd: FloatArray, host: Host, rng: np.random.Generator) -> FloatArray:
    """Return one brightening or fading of any shape, duration and size, somewhere among the epochs."""
    span = max(float(mjd[-1] - mjd[0]), 10 * SHORTEST_EVENT_DAY)
    for _ in range(TRIES):
        size = float(np.exp(rng.uniform(*np.log(EVENT_MAG)))) * rng.choice([-1.0, 1.0])
        duration = float(np.exp(rng.uniform(np.log(SHORTEST_EVENT_DAY), np.log(span))))
        shape = _SHAPES[int(rng.integers(len(_SHAPES)))]
        change = size * shape((mjd - rng.choice(mjd)) / duration)
        if (np.abs(change) > LEAST_CHANGE_MAG).sum() >= 2:
            break
    return np.asarray(10 ** (-0.4 * change))


def _glitch(mjd: FloatArray, host: Host, rng: np.random.Generator) -> FloatArray:
    """Return what instruments do: single wild exposures, lost light, a visit or all later ones off."""
    change = np.zeros(len(mjd))
    kind = rng.integers(3)
    if kind == 0:
        change[rng.choice(len(mjd), int(rng.integers(1, 3)), replace=False)] = rng.normal(0.0, 2.0)
    elif kind == 1:
        lost = rng.random(len(mjd)) < rng.uniform(0.05, 0.5)
        change[lost] = rng.exponential(0.6, int(lost.sum()))
    else:
        at = rng.choice(mjd)
        step = rng.normal(0.0, 0.4)
        change[np.floor(mjd) == np.floor(at) if rng.random() < 0.5 else mjd >= at] = step
    return np.asarray(10 ** (-0.4 * np.clip(change, -5.0, 5.0)))


def _folded(profile: FloatArray, mjd: FloatArray, period_day: float, phase: float) -> FloatArray:
    if period_day <= 0:
        return np.zeros(len(mjd))  # a star without a period lends no light
    position = (mjd / period_day + phase) % 1.0 * N_PHASES
    return np.asarray(np.interp(position, np.arange(N_PHASES + 1), np.append(profile, profile[0])))


_SHAPES: tuple[Callable[[FloatArray], FloatArray], ...] = (
    lambda x: (np.abs(x) < 0.5).astype(np.float64),
    lambda x: np.maximum(1 - 2 * np.abs(x), 0.0),
    lambda x: np.exp(-0.5 * (2 * x) ** 2),
    lambda x: np.where(x >= 0, np.exp(-3 * np.maximum(x, 0.0)), 0.0),
    lambda x: np.where(x <= 0, np.exp(3 * np.minimum(x, 0.0)), 0.0),
    lambda x: (x >= 0).astype(np.float64),
)
"""Box, triangle, bell, sudden rise with slow decay, slow rise with sudden end, step; time in durations."""

_FACTORS: Mapping[Oddity, Callable[[FloatArray, Host, np.random.Generator], FloatArray]] = MappingProxyType(
    {
        Oddity.ORDINARY: lambda mjd, host, rng: np.ones(len(mjd)),
        Oddity.TWO_PERIODS: _two_periods,
        Oddity.OTHER_PERIOD: _other_period,
        Oddity.EVENT: _event,
        Oddity.GLITCH: _glitch,
    }
)
