# SPDX-License-Identifier: BSD-3-Clause
"""Files as the surveys deliver them: ASAS-SN light curves and LAMOST spectra."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError

__all__ = ["read_asassn", "read_lamost"]

HEADER_LINES = 2
"""Lines before the numbers of an ASAS-SN file."""

HJD, FLUX, FLUX_ERR = 0, 3, 4
"""Columns that the model uses, of HJD MAG MAG_ERR FLUX FLUX_ERR; fluxes in mJy."""

N_LAMOST_ROWS = 3
"""Rows of a LAMOST image that are used: flux, inverse variance, and wavelength or, in the first release, the
continuum."""


def read_asassn(path: Path) -> NDArray[np.float64]:
    """Return the times, fluxes and errors (N, 3) of an ASAS-SN .dat file, in its order.

    Raises
    ------
    ConfigurationError
        If it cannot be read as one.
    """
    try:
        lines = path.read_text().splitlines()[HEADER_LINES:]
        table = np.array([line.split() for line in lines if line.strip()], dtype=np.float64)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot read {path} as an ASAS-SN light curve: {error}") from error
    if table.size == 0:
        return np.empty((0, 3))
    if table.ndim != 2 or table.shape[1] <= FLUX_ERR:
        raise ConfigurationError(f"{path}: the columns HJD MAG MAG_ERR FLUX FLUX_ERR are needed")
    return table[:, [HJD, FLUX, FLUX_ERR]]


def read_lamost(path: Path) -> NDArray[np.float64]:
    """Return wavelengths in Angstrom, fluxes and inverse variances (N, 3) of a LAMOST low-resolution file.

    Three layouts are read: an image without wavelengths, which its header then gives (first data release), an
    image with them (to release 7), and the columns of a table.

    Raises
    ------
    ConfigurationError
        If astropy is not installed, or the file cannot be read as one.
    """
    try:
        fits = importlib.import_module("astropy.io.fits")
    except ImportError as error:
        raise ConfigurationError("reading FITS files needs astropy: pip install astropy") from error
    try:
        with fits.open(path, memmap=False) as units:
            if units[0].data is not None:
                flux, inverse_variance, wave_aa = units[0].data[:N_LAMOST_ROWS]
                if not (np.diff(wave_aa) > 0).all():
                    start, step = units[0].header["COEFF0"], units[0].header["COEFF1"]
                    wave_aa = 10.0 ** (start + step * np.arange(len(flux)))
            else:
                table = units[1].data
                flux, inverse_variance, wave_aa = (
                    np.ravel(table[name]) for name in ("FLUX", "IVAR", "WAVELENGTH")
                )
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ConfigurationError(f"cannot read {path} as a LAMOST spectrum: {error}") from error
    return np.column_stack([wave_aa, flux, inverse_variance]).astype(np.float64)
