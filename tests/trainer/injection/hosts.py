# SPDX-License-Identifier: BSD-3-Clause
"""Hosts made up for tests: constant stars with a survey's errors, four exposures a visit."""

from __future__ import annotations

import numpy as np

from broker_plugin.surveys.photometry import flux_of_mag
from trainer.data.stars import N_PHASES, StarTable
from trainer.injection.photometry import SurveyNoise

__all__ = ["NOISE", "constant_stars"]

NOISE = SurveyNoise(
    mag=np.array([10.0, 15.0, 20.0]),
    log_error=np.log([0.02, 0.05, 0.5]),
    bright_mag=10.3,
    faint_mag=19.6,
)
"""Errors like Catalina's, which grow with magnitude, and its limits."""


def constant_stars(rng: np.random.Generator, *, n: int, visits: int, mag: float | None = None) -> StarTable:
    """Return stars that do not vary, with a visit every fortnight or so; 12 to 17 mag if none is given."""
    true_mag = np.full(n, mag) if mag is not None else rng.uniform(12.0, 17.0, n)
    start = 54_000.0 + np.cumsum(rng.uniform(5.0, 25.0, (n, visits)), axis=1)
    mjd = (start[:, :, None] + np.arange(4) * 0.007).reshape(n, -1)
    level, _ = flux_of_mag(np.repeat(true_mag[:, None], mjd.shape[1], axis=1), np.zeros(mjd.shape))
    error = NOISE.error_njy(level)
    flux = level + error * rng.standard_normal(mjd.shape)
    ones = np.ones(n)
    return StarTable(
        star_id=np.array([f"css:{1000 + k}" for k in range(n)]),
        label=np.zeros(n, np.int64),
        ra_deg=np.arange(n) * 0.1,
        dec_deg=-30 * ones,
        gal_lon_deg=10 * ones,
        gal_lat_deg=40 * ones,
        period_day=ones,
        mean_mag=true_mag,
        mjd=mjd.ravel(),
        flux_njy=flux.ravel().astype(np.float32),
        flux_err_njy=error.ravel().astype(np.float32),
        offsets=np.arange(n + 1, dtype=np.int64) * mjd.shape[1],
        profile=np.zeros((n, N_PHASES), np.float32),
    )
