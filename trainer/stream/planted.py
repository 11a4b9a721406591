# SPDX-License-Identifier: BSD-3-Clause
"""Anomalies planted into real alerts that were held back, to see whether they get small p-values.

A real light curve is multiplied by the light of something that did not happen; its cadence, bands, depth,
noise and neighbours stay what they were. The priors below were written down before anything was measured, and
nothing here is shared with what the encoders were trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from broker_plugin.records import Alert
from broker_plugin.surveys.photometry import AB_ZERO_NJY

__all__ = ["KINDS", "MIN_EPOCHS", "plant"]

FloatArray = NDArray[np.float64]

MIN_EPOCHS = 4
"""Fewest epochs of an alert that something is planted into: fewer show brightness but no course of it."""

DETECTION_SIGMA = 5.0
"""The alert's own epoch must change by this much, or the survey would have issued no alert of it."""

TRIES = 20
"""Draws of the parameters until the alert's own epoch is a detection; weak events on faint stars are none."""

EINSTEIN_DAY, EINSTEIN_LOG_SIGMA = 20.0, 0.6
"""Median and log scatter of the Einstein times, about those of the Galactic disc and bulge."""

WINDOW_DAY = 30.0
"""Events begin at most this long before the alert: a ZTF packet's history has as much."""


def _microlensing(since_day: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return the magnification by a point lens: u0 ~ U(0, 1), log-normal Einstein time."""
    impact = rng.uniform(0.0, 1.0)
    einstein_day = EINSTEIN_DAY * np.exp(EINSTEIN_LOG_SIGMA * rng.normal())
    peak_day = rng.uniform(-min(WINDOW_DAY, 2 * einstein_day), 0.5 * einstein_day)
    squared = np.maximum(impact, 1e-3) ** 2 + ((since_day - peak_day) / einstein_day) ** 2
    return np.asarray((squared + 2.0) / np.sqrt(squared**2 + 4.0 * squared))


def _dwarf_nova(since_day: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return an outburst of 2-6 mag: up within two days, a plateau of days, down at 0.2-1 mag a day."""
    amplitude_mag = rng.uniform(2.0, 6.0)
    start_day, rise_day, plateau_day = -rng.uniform(0.3, 15.0), rng.uniform(0.3, 2.0), rng.uniform(1.0, 10.0)
    age_day = since_day - start_day
    up = np.clip(age_day / rise_day, 0.0, 1.0) * amplitude_mag
    down = np.clip(age_day - rise_day - plateau_day, 0.0, None) * rng.uniform(0.2, 1.0)
    return np.asarray(10.0 ** (0.4 * np.clip(up - down, 0.0, None)))


def _flare(since_day: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return a flare of 0.5-5 mag that decays within minutes to hours; the alert lies in it."""
    amplitude_mag, decay_day = rng.uniform(0.5, 5.0), 10.0 ** rng.uniform(-2.0, -0.5)
    age_day = since_day + rng.uniform(0.0, decay_day)
    light = (10.0 ** (0.4 * amplitude_mag) - 1.0) * np.exp(-np.clip(age_day, 0.0, None) / decay_day)
    return np.asarray(1.0 + np.where(age_day >= 0.0, light, 0.0))


def _fade(since_day: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return a decline of 1-8 mag at 0.05-0.5 mag a day, as of an R Coronae Borealis star."""
    start_day = -rng.uniform(3.0, WINDOW_DAY)
    fade_mag = np.clip((since_day - start_day) * rng.uniform(0.05, 0.5), 0.0, rng.uniform(1.0, 8.0))
    return np.asarray(10.0 ** (-0.4 * fade_mag))


KINDS: Mapping[str, Callable[[FloatArray, np.random.Generator], FloatArray]] = MappingProxyType(
    {"microlensing": _microlensing, "outburst": _dwarf_nova, "flare": _flare, "fade": _fade}
)
"""Factor of the source's light, by days since the alert (all negative or 0)."""


def plant(alert: Alert, kind: str, rng: np.random.Generator) -> Alert | None:
    """Return the alert with an event of this kind in its light curve.

    None where it has fewer than `MIN_EPOCHS` epochs, no known brightness, or no draw that would have been
    detected.
    """
    curve = alert.light_curve
    quiet_njy = _quiet_flux(alert)
    if len(curve) < MIN_EPOCHS or quiet_njy is None:
        return None
    flux = curve.flux_njy.astype(np.float64)
    error = curve.flux_err_njy.astype(np.float64)
    for _ in range(TRIES):
        factor = KINDS[kind](curve.mjd_tai - alert.mjd_tai, rng)
        # What is added belongs to the quiet source: its noise is not magnified with it.
        added = (factor - 1.0) * quiet_njy
        if abs(added[-1]) < DETECTION_SIGMA * error[-1]:
            continue
        noisier = error * np.sqrt(np.maximum(factor, 1.0))
        extra = np.sqrt(np.maximum(noisier**2 - error**2, 0.0)) * rng.standard_normal(len(flux))
        changed = replace(
            curve,
            flux_njy=(flux + added + extra).astype(np.float32),
            flux_err_njy=noisier.astype(np.float32),
        )
        return replace(alert, light_curve=changed)
    return None


def _quiet_flux(alert: Alert) -> FloatArray | None:
    """Return the flux of the source without the event for each epoch, (T,), or None where it is unknown."""
    curve = alert.light_curve
    reference_mag = alert.metadata.get("reference_mag")
    quiet = np.full(len(curve), np.nan)
    if reference_mag is not None:
        quiet[:] = AB_ZERO_NJY * 10.0 ** (-0.4 * reference_mag)
    for band in np.unique(curve.band):
        of_band = (curve.band == band) & curve.apparent
        if of_band.any():
            quiet[curve.band == band] = max(float(np.median(curve.flux_njy[of_band])), 0.0)
    return None if np.isnan(quiet).any() or not (quiet > 0).all() else quiet
