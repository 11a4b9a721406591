# SPDX-License-Identifier: BSD-3-Clause
"""What the survey would have measured had a star been brighter or fainter at some of its epochs.

Noise is only ever added. In flux it grows with brightness, so light that is added keeps the noise of the
star and brings its own; a faded star keeps the noise of its share of the light and gets the rest of what the
survey has at its new brightness. What is brighter or fainter than the survey measures is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_plugin.surveys.photometry import AB_ZERO_NJY
from trainer.data.stars import StarTable
from trainer.injection.events import Event

__all__ = ["Curve", "Observed", "SurveyNoise", "curve_of", "observed", "visits_of"]

FloatArray = NDArray[np.float64]

BIN_MAG = 0.25
"""Width of the bins in which the survey's error is measured."""

BIN_EPOCHS = 30
"""Fewest epochs of a bin."""

LOST_SHARE = 1e-3
"""Share of the epochs beyond the limits to either side. Catalina's then are 10.3 and 19.6 mag, where it
saturates and where the error is half a magnitude."""

VISIT_DAY = 0.3
"""Exposures nearer to the one before belong to one visit: Catalina's four lie within half an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One light curve in order of time: columns over its epochs (T,)."""

    mjd: FloatArray
    flux_njy: FloatArray
    flux_err_njy: FloatArray

    def __len__(self) -> int:
        return len(self.mjd)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Curve:
        """Return some of the epochs."""
        return Curve(mjd=self.mjd[rows], flux_njy=self.flux_njy[rows], flux_err_njy=self.flux_err_njy[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyNoise:
    """A survey's error by magnitude, and the magnitudes between which it measures.

    Parameters
    ----------
    mag, log_error
        Knots of the median relative error's logarithm.
    bright_mag, faint_mag
        The limits.
    """

    mag: FloatArray
    log_error: FloatArray
    bright_mag: float
    faint_mag: float

    @classmethod
    def of(cls, stars: StarTable) -> SurveyNoise:
        """Measure both on the light curves themselves."""
        mag = _mag(stars.flux_njy.astype(np.float64))
        relative = stars.flux_err_njy / stars.flux_njy
        known = np.isfinite(mag) & (relative > 0)
        bin_ = np.floor(mag[known] / BIN_MAG).astype(np.int64)
        values = np.log(relative[known].astype(np.float64))
        filled = [each for each in np.unique(bin_) if (bin_ == each).sum() >= BIN_EPOCHS]
        bright, faint = np.quantile(mag[known], [LOST_SHARE, 1.0 - LOST_SHARE])
        return cls(
            mag=np.array([(each + 0.5) * BIN_MAG for each in filled]),
            log_error=np.array([np.median(values[bin_ == each]) for each in filled]),
            bright_mag=float(bright),
            faint_mag=float(faint),
        )

    def error_njy(self, flux_njy: FloatArray) -> FloatArray:
        """Return the typical error of a flux.

        Brighter than the first knot it is as large in magnitudes as there, fainter than the last, in flux:
        bright stars are limited by the calibration, faint ones by the sky.
        """
        faintest = AB_ZERO_NJY * 10.0 ** (-0.4 * self.mag[-1])
        light = np.maximum(flux_njy, faintest)
        return np.asarray(light * np.exp(np.interp(_mag(light), self.mag, self.log_error)))

    def measured(self, flux_njy: FloatArray) -> NDArray[np.bool_]:
        """Return where a flux is within the limits."""
        mag = _mag(flux_njy)
        return np.asarray((mag >= self.bright_mag) & (mag <= self.faint_mag))


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A light curve with an event: columns over the epochs of the host (T,).

    Parameters
    ----------
    factor, added_njy
        What the event did to the light, without noise.
    measured
        Where the survey would have measured it: with its noise or without, it is within the limits.
    """

    curve: Curve
    factor: FloatArray
    added_njy: FloatArray
    measured: NDArray[np.bool_]


def curve_of(stars: StarTable, star: int) -> Curve:
    """Return the light curve of a star of a table."""
    rows = stars.epochs(star)
    return Curve(
        mjd=stars.mjd[rows],
        flux_njy=stars.flux_njy[rows].astype(np.float64),
        flux_err_njy=stars.flux_err_njy[rows].astype(np.float64),
    )


def observed(
    host: Curve, event: Event, reference_mjd: float, noise: SurveyNoise, rng: np.random.Generator
) -> Observed:
    """Return the light curve of a host with an event, at all epochs of the host."""
    factor = event.factor(host.mjd - reference_mjd)
    quiet = _visit_mean(host) if event.scales else np.full(len(host), float(np.median(host.flux_njy)))
    added = (factor - 1.0) * quiet
    fading = event.scales & (factor < 1.0)
    # Dust dims a star with its noise; what else is added has none yet.
    clean = np.where(fading, factor * host.flux_njy, host.flux_njy + added)
    brought = np.where(fading, factor, 1.0) * noise.error_njy(host.flux_njy)
    missing = np.sqrt(np.maximum(noise.error_njy(clean) ** 2 - brought**2, 0.0))
    flux = clean + missing * rng.standard_normal(len(host))
    quality = host.flux_err_njy / noise.error_njy(host.flux_njy)
    changed = np.abs(factor - 1.0) > NEGLIGIBLE
    return Observed(
        curve=Curve(
            mjd=host.mjd,
            flux_njy=np.where(changed, flux, host.flux_njy),
            flux_err_njy=np.where(changed, quality * noise.error_njy(flux), host.flux_err_njy),
        ),
        factor=factor,
        added_njy=added,
        measured=~changed | (noise.measured(flux) & noise.measured(clean)),
    )


NEGLIGIBLE = 1e-4
"""A change below this, a hundredth of the best error, leaves an epoch as it was."""


def visits_of(mjd: FloatArray) -> NDArray[np.int64]:
    """Return the number of the visit of each epoch.

    Examples
    --------
    >>> visits_of(np.array([1.0, 1.01, 3.0]))
    array([0, 0, 1])
    """
    return np.concatenate([[0], np.cumsum(np.diff(mjd) > VISIT_DAY)]).astype(np.int64)


def _visit_mean(host: Curve) -> FloatArray:
    visit = visits_of(host.mjd)
    return np.asarray((np.bincount(visit, host.flux_njy) / np.bincount(visit))[visit])


def _mag(flux_njy: FloatArray) -> FloatArray:
    """Return magnitudes, infinitely faint where there is no light."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mag = -2.5 * np.log10(flux_njy / AB_ZERO_NJY)
    return np.where(flux_njy > 0, mag, np.inf)
