# SPDX-License-Identifier: BSD-3-Clause
"""Odd light curves of kinds that no training class holds, for measuring the anomaly scores.

They are seen through the same cadences, depths and selection as ordinary alerts; only the light differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from broker_plugin.records import Alert
from trainer.augment import alert_of, survey_alert
from trainer.cadence import LSST, ZTF, visits
from trainer.data.stars import StarTable

__all__ = ["KINDS", "odd_alert"]

FloatArray = NDArray[np.float64]

Light = Callable[[FloatArray, np.random.Generator], FloatArray]


def _outburst(age_day: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return a fast rise and an exponential fall, as of a nova or a dwarf nova."""
    since = -age_day.min() * rng.uniform(0.1, 0.9) + age_day
    rise, fall = rng.uniform(0.3, 2.0), rng.uniform(3.0, 20.0)
    peak = np.exp(rng.uniform(np.log(2.0), np.log(50.0)))
    return np.asarray(peak * np.exp(-np.abs(since) / np.where(since < 0, rise, fall)))


def _microlensing(age_day: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return the light of a point source behind a point lens (Paczynski 1986)."""
    centre, crossing = age_day.min() * rng.uniform(0.0, 0.9), rng.uniform(5.0, 60.0)
    u2 = rng.uniform(0.02, 0.5) ** 2 + ((age_day - centre) / crossing) ** 2
    return np.asarray((u2 + 2) / np.sqrt(u2 * (u2 + 4)) - 1)


def _flare(age_day: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return a quiet star with one bright point at the end."""
    light = rng.normal(0.0, 0.02, len(age_day))
    light[-1] = np.exp(rng.uniform(np.log(0.5), np.log(10.0)))
    return light


def _dip(age_day: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return a star that fades for good, as behind dust."""
    start, fall = age_day.min() * rng.uniform(0.2, 0.9), rng.uniform(2.0, 20.0)
    return np.asarray(-rng.uniform(0.5, 0.95) * np.clip((age_day - start) / fall, 0.0, 1.0))


def _flicker(age_day: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return a damped random walk, as of an active galactic nucleus."""
    tau, sigma = rng.uniform(20.0, 200.0), rng.uniform(0.15, 0.5)
    light = np.zeros(len(age_day))
    light[0] = rng.normal(0.0, sigma)
    for k in range(1, len(age_day)):
        decay = np.exp(-(age_day[k] - age_day[k - 1]) / tau)
        light[k] = light[k - 1] * decay + sigma * np.sqrt(1 - decay**2) * rng.normal()
    return np.expm1(light)


KINDS: Mapping[str, Light] = MappingProxyType(
    {
        "outburst": _outburst,
        "microlensing": _microlensing,
        "flare": _flare,
        "fading": _dip,
        "random_walk": _flicker,
    }
)
"""Light as a fraction of the quiescent flux above it, by days before the alert."""


def odd_alert(
    kind: str, stars: StarTable, star: int, rng: np.random.Generator, *, n_epochs: int, alert_id: int
) -> Alert:
    """Return an alert of an odd source that stands where a star stands and is as bright as it."""
    survey = ZTF if rng.random() < 0.5 else LSST
    age_day, band = visits(survey, int(np.ceil(n_epochs * rng.uniform(1.0, 3.0))) + 2, rng)
    light = np.maximum(KINDS[kind](age_day, rng), -0.99)
    measured = survey_alert(light, 60_000.0 + age_day, band, survey, rng, mag=float(stars.mean_mag[star]))
    return alert_of(stars, star, measured, survey, rng, n_epochs=n_epochs, alert_id=alert_id, dimming_mag=0.0)
