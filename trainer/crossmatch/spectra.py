# SPDX-License-Identifier: BSD-3-Clause
"""Spectra as surveys publish them, to vacuum wavelengths, flux and inverse variance."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.time import Time
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError
from broker_plugin.records import Access, Spectrum
from trainer.crossmatch.settings import Cuts, SpectrumFilesSource

__all__ = [
    "FitsSpectrum",
    "inverse_variance_of_scatter",
    "keep_spectrum",
    "read_lamost",
    "read_text_spectrum",
    "signal_to_noise",
    "vacuum_of_air",
]

FloatArray = NDArray[np.float64]

AIR_FROM_AA = 2000.0
"""Below it wavelengths are given in vacuum by everyone, and the formula for air does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitsSpectrum:
    """A spectrum with what its header says."""

    key: str
    ra_deg: float
    dec_deg: float
    epoch_jyear: float
    spectrum: Spectrum


def read_lamost(path: Path) -> FitsSpectrum:
    """Read a LAMOST low-resolution spectrum: image rows flux, inverse variance, ...; log-linear wavelengths.

    Raises
    ------
    ConfigurationError
        If the file is laid out otherwise.
    """
    with fits.open(path) as hdus:
        header, image = hdus[0].header, hdus[0].data
        try:
            rows = str(header["EXTEN0"]).split()
            zero, step = float(header["COEFF0"]), float(header["COEFF1"])
            ra_deg, dec_deg = float(header["RA"]), float(header["DEC"])
            when = Time(str(header["DATE-OBS"]), scale="utc")
        except KeyError as missing:
            raise ConfigurationError(f"{path} is no LAMOST spectrum: {missing}") from missing
        if image is None or image.ndim != 2 or rows[:2] != ["Flux", "Inverse"]:
            raise ConfigurationError(f"{path} is no LAMOST spectrum: its rows are {rows}")
        wave = 10.0 ** (zero + step * np.arange(image.shape[1]))
        if not header.get("VACUUM", True):
            wave = vacuum_of_air(wave)
        flux, ivar = image[0].astype(np.float64), image[1].astype(np.float64)
    return FitsSpectrum(
        key=str(header.get("FILENAME", path.name)).removesuffix(".fits"),
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        epoch_jyear=float(when.jyear),
        spectrum=_spectrum(wave, flux, ivar),
    )


def read_text_spectrum(path: Path, source: SpectrumFilesSource) -> Spectrum:
    """Read a spectrum from a table of numbers.

    Without errors, the inverse variance is that of `inverse_variance_of_scatter` on every pixel.
    """
    try:
        table = np.loadtxt(path, skiprows=source.header_lines, ndmin=2, dtype=np.float64)
        wave, flux = table[:, source.wave], table[:, source.flux]
        error = None if source.flux_err is None else table[:, source.flux_err]
    except (ValueError, IndexError) as fault:
        raise ConfigurationError(
            f"{path} is no table of a spectrum as {source.name} says: {fault}"
        ) from fault
    if source.wavelengths == "air":
        wave = vacuum_of_air(wave)
    order = np.argsort(wave, kind="stable")
    order = order[np.diff(wave[order], prepend=-np.inf) > 0]
    wave, flux = wave[order], flux[order]
    if error is None:
        return _spectrum(wave, flux, np.full(len(wave), inverse_variance_of_scatter(flux)))
    known = np.isfinite(error[order]) & (error[order] > 0)
    return _spectrum(wave, flux, np.where(known, 1 / np.where(known, error[order], 1.0) ** 2, 0.0))


def keep_spectrum(spectrum: Spectrum, cuts: Cuts, funnel: Counter[str]) -> Spectrum | None:
    """Return the spectrum if it passes the cuts, else None; what happened is counted."""
    funnel["spectra read"] += 1
    good = float((spectrum.inverse_variance > 0).mean()) if len(spectrum.wave_aa) else 0.0
    if good == 0 or good < cuts.min_good_fraction:
        funnel["spectra with too few usable pixels"] += 1
        return None
    if signal_to_noise(spectrum) < cuts.min_snr:
        funnel["spectra of too low signal-to-noise"] += 1
        return None
    funnel["spectra kept"] += 1
    return spectrum


def signal_to_noise(spectrum: Spectrum) -> float:
    """Return the median signal-to-noise of the usable pixels, 0 where there is none."""
    good = spectrum.inverse_variance > 0
    if not good.any():
        return 0.0
    return float(np.median(spectrum.flux[good] * np.sqrt(spectrum.inverse_variance[good])))


def inverse_variance_of_scatter(flux: FloatArray) -> float:
    """Return the inverse variance of a pixel, estimated from how third neighbours differ.

    DER_SNR of Stoehr et al. 2008 (ASP Conf. 394, 505): right for noise that is Gaussian and not correlated
    over two pixels, on a spectrum that is smooth over five; 0 where there is no scatter to go by.

    Examples
    --------
    >>> noise = np.random.default_rng(1).normal(5.0, 0.1, 20_000)
    >>> round(inverse_variance_of_scatter(noise) * 0.1**2, 1)
    1.0
    """
    flux = flux[np.isfinite(flux)]
    if len(flux) < 5:
        return 0.0
    scatter = np.median(np.abs(2 * flux[2:-2] - flux[:-4] - flux[4:])) * 1.482602 / np.sqrt(6)
    return float(1 / scatter**2) if scatter > 0 else 0.0


def vacuum_of_air(wave_aa: FloatArray) -> FloatArray:
    """Return wavelengths in vacuum of those in standard air (Morton 1991, ApJS 77, 119; IAU standard).

    Examples
    --------
    >>> round(float(vacuum_of_air(np.array([4861.325]))[0]), 2)
    4862.68
    """
    inverse_square = (1e4 / wave_aa) ** 2
    index = 1 + 6.4328e-5 + 2.94981e-2 / (146 - inverse_square) + 2.5540e-4 / (41 - inverse_square)
    return np.where(wave_aa > AIR_FROM_AA, wave_aa * index, wave_aa)


def _spectrum(wave: FloatArray, flux: FloatArray, ivar: FloatArray) -> Spectrum:
    usable = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
    return Spectrum(
        wave_aa=wave,
        flux=np.where(np.isfinite(flux), flux, 0.0).astype(np.float32),
        inverse_variance=np.where(usable, ivar, 0.0).astype(np.float32),
        access=Access.PUBLIC,
    )
