# SPDX-License-Identifier: BSD-3-Clause
"""Spectra as tokens: one for each covered patch of a fixed grid in log wavelength, from blue to red.

A pixel of the grid is the mean of what lies in it, weighted by inverse variance and by the share of each
measured pixel that falls inside, so neither resolution nor sampling of the instrument matter. What nobody
measured (outside the ends, in gaps, where the inverse variance is zero) has no weight, and a patch of which
too little was measured has no token: nothing is extrapolated.

The grid is in vacuum wavelengths as observed. No radial velocity is taken out, since an alert brings none; a
pixel of 250 km/s is wide enough for the stars of the disc.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.features.base import Modality, Tokens
from broker_plugin.features.period import Periods
from broker_plugin.records import AlertBatch, Spectrum

__all__ = ["CHANNELS", "N_PATCHES", "PATCH_PIXELS", "Resampled", "Spectra", "build", "resampled"]

FloatArray = NDArray[np.float64]

WAVE_MIN_AA, WAVE_MAX_AA = 3800.0, 9000.0
"""Ends of the grid. Below 3800 the throughput of LAMOST and SDSS falls steeply; above 9000 water absorbs."""

N_PATCHES = 64
PATCH_PIXELS = 16
"""1,024 pixels of 0.084 %, 3.2 to 7.6 angstrom: two to three resolution elements of a survey's spectrum at
R = 1800. Finer pixels cost time and show lines that only brighter stars have."""

CHANNELS: tuple[str, ...] = (
    *(f"flux_{pixel}" for pixel in range(PATCH_PIXELS)),
    "log_continuum",
    "log_signal_to_noise",
    "coverage",
    "position",
)
"""Channels of a token: the pixels' flux over the continuum less 1 (0 where unmeasured), the continuum over
the spectrum's own level, the median signal-to-noise ratio of a pixel, the share of the patch that was
measured, and the patch's place on the grid from 0 (blue) to 1 (red)."""

COVERAGE_MIN = 0.5
"""Least measured share of a pixel, and of a patch. Below it the mean of a pixel is that of its neighbour."""

GAP = 3.0
"""A step between pixels this many times the median step is a gap, not a wide pixel."""

CONTINUUM_PIXELS = 96
"""Half-width of the window of the running mean that is called continuum, 8 % in wavelength: wide enough to
leave Balmer lines and the bands of TiO in place."""

CONTINUUM_FLOOR = 0.05
"""Least continuum, as a share of the spectrum's level: below it a normalised flux is noise over nothing."""

FLUX_MAX = 5.0
"""Largest deviation from the continuum in units of it: a cosmic ray, or an emission line that says no more
by being stronger still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampled:
    """A spectrum on the grid: flux, inverse variance and measured share of every pixel, shape (P,)."""

    flux: FloatArray
    inverse_variance: FloatArray
    coverage: FloatArray


def build(spec: Mapping[str, Any]) -> Modality:
    """Return the modality; the grid is fixed, so `spec` is empty."""
    return Spectra()


class Spectra:
    """Spectra as tokens of `CHANNELS`."""

    def __init__(self) -> None:
        self.name = "spectrum"
        self.width = len(CHANNELS)
        self.longest = N_PATCHES

    def tokens(self, batch: AlertBatch, periods: Periods) -> Tokens:
        """Return a token for each patch that an alert's spectrum covers."""
        parts = [_tokens(spectrum) for spectrum in batch.spectra]
        lengths = [len(part) for part in parts]
        return Tokens(
            values=np.concatenate([np.zeros((0, self.width), np.float32), *parts]),
            offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        )


def resampled(spectrum: Spectrum) -> Resampled:
    """Return a spectrum on the fixed grid of `N_PATCHES * PATCH_PIXELS` pixels.

    The inverse variances of the parts that fall into a pixel add up, so the signal-to-noise ratio over any
    stretch of wavelengths is that of the measurement.
    """
    edges = _edges_aa()
    there = np.isfinite(spectrum.wave_aa) & (spectrum.wave_aa > 0)
    wave = spectrum.wave_aa[there]
    order = np.argsort(wave, kind="stable")
    wave = wave[order]
    if not (np.diff(wave) > 0).any():
        nothing = np.zeros(len(edges) - 1)
        return Resampled(flux=nothing, inverse_variance=nothing, coverage=nothing)
    flux = spectrum.flux[there][order].astype(np.float64)
    weight = spectrum.inverse_variance[there][order].astype(np.float64)
    good = np.isfinite(flux) & np.isfinite(weight) & (weight > 0)
    flux, weight = np.where(good, flux, 0.0), np.where(good, weight, 0.0)
    bounds = _pixel_bounds(wave)
    total = _share(bounds, weight, edges)
    measured = _share(bounds, np.where(good, np.diff(bounds)[::2], 0.0), edges) / np.diff(edges)
    mean = np.divide(_share(bounds, weight * flux, edges), total, out=np.zeros_like(total), where=total > 0)
    kept = measured >= COVERAGE_MIN
    return Resampled(
        flux=np.where(kept, mean, 0.0),
        inverse_variance=np.where(kept, total, 0.0),
        coverage=np.where(kept, np.minimum(measured, 1.0), 0.0),
    )


def _tokens(spectrum: Spectrum | None) -> NDArray[np.float32]:
    """Return the tokens of one spectrum (T, F), none where there is no light in it."""
    none = np.zeros((0, len(CHANNELS)), np.float32)
    if spectrum is None:
        return none
    grid = resampled(spectrum)
    measured = grid.inverse_variance > 0
    if not measured.any():
        return none
    level = float(np.median(grid.flux[measured]))
    if level <= 0:
        return none
    continuum = np.maximum(_running_mean(grid.flux, measured) / level, CONTINUUM_FLOOR)
    deviation = np.where(measured, np.clip(grid.flux / level / continuum - 1, -FLUX_MAX, FLUX_MAX), 0.0)
    signal_to_noise = np.abs(grid.flux) * np.sqrt(grid.inverse_variance)
    shape = (N_PATCHES, PATCH_PIXELS)
    share = measured.reshape(shape).mean(axis=1)
    patches = np.flatnonzero(share >= COVERAGE_MIN)
    by_patch = np.where(measured, signal_to_noise, np.nan).reshape(shape)[patches]
    noise = np.zeros(N_PATCHES)
    noise[patches] = np.nanmedian(by_patch, axis=1)
    columns = [
        deviation.reshape(shape),
        np.log10(continuum).reshape(shape).mean(axis=1, keepdims=True),
        np.log10(1 + noise)[:, None],
        share[:, None],
        (np.arange(N_PATCHES) / (N_PATCHES - 1))[:, None],
    ]
    return np.concatenate(columns, axis=1)[patches].astype(np.float32)


def _edges_aa() -> FloatArray:
    ends = math.log(WAVE_MIN_AA), math.log(WAVE_MAX_AA)
    return np.exp(np.linspace(*ends, N_PATCHES * PATCH_PIXELS + 1))


def _pixel_bounds(wave: FloatArray) -> FloatArray:
    """Return lower and upper edge of each pixel in turn, shape (2 L,), rising.

    Edges lie half way to the neighbour, or half a typical step away where the neighbour is beyond a gap.
    """
    steps = np.diff(wave) / wave[:-1]
    half_aa = wave * float(np.median(steps[steps > 0])) / 2
    middle = (wave[1:] + wave[:-1]) / 2
    near = np.diff(wave) <= 2 * GAP * half_aa[:-1]
    bounds = np.empty(2 * len(wave))
    bounds[0], bounds[-1] = wave[0] - half_aa[0], wave[-1] + half_aa[-1]
    bounds[1:-1:2] = np.where(near, middle, wave[:-1] + half_aa[:-1])
    bounds[2::2] = np.where(near, middle, wave[1:] - half_aa[1:])
    return bounds


def _share(bounds: FloatArray, amount: FloatArray, edges: FloatArray) -> FloatArray:
    """Return how much of each pixel's amount, spread evenly over it, lies between the edges of the grid."""
    running = np.repeat(np.concatenate([[0.0], np.cumsum(amount)]), 2)[1:-1]
    return np.diff(np.interp(edges, bounds, running))


def _running_mean(flux: FloatArray, measured: NDArray[np.bool_]) -> FloatArray:
    """Return the mean of the measured pixels in a window around each pixel."""
    total = np.concatenate([[0.0], np.cumsum(np.where(measured, flux, 0.0))])
    count = np.concatenate([[0], np.cumsum(measured)])
    low = np.maximum(np.arange(len(flux)) - CONTINUUM_PIXELS, 0)
    high = np.minimum(np.arange(len(flux)) + CONTINUUM_PIXELS + 1, len(flux))
    return np.asarray((total[high] - total[low]) / np.maximum(count[high] - count[low], 1))
