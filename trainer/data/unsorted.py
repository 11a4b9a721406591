# SPDX-License-Identifier: BSD-3-Clause
"""Every star of a file laid out like the training light curves, whatever is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from broker_plugin.surveys.photometry import AB_ZERO_NJY, flux_of_mag
from broker_plugin.surveys.sky import galactic_deg
from trainer.data.catalina import Funnel, kept_epochs, star_name
from trainer.data.star_file import epochs_of, is_period, numbers_of, read_columns
from trainer.data.stars import N_PHASES, StarTable

__all__ = ["Unsorted", "read_unsorted"]

FloatArray = NDArray[np.float64]

OPTIONAL = ("period", "sss_class", "l", "b")
"""Columns that a file need not have: what nobody may know of its stars, and what their positions tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsorted:
    """Every star of a file, whatever is known of it: what a finished bundle is measured on.

    Parameters
    ----------
    stars
        The stars; label -1, no profile, period 0 where it is not known.
    star_id
        As in the file, numbers or names; shape (S,).
    published
        The published class, empty where it is not given; shape (S,).
    funnel
        What was left out of the file.
    """

    stars: StarTable
    star_id: NDArray[np.generic]
    published: NDArray[np.str_]
    funnel: Funnel = field(default_factory=Funnel)

    def take(self, rows: NDArray[np.int64]) -> Unsorted:
        """Return some of the stars."""
        return Unsorted(
            stars=self.stars.take(rows),
            star_id=self.star_id[rows],
            published=self.published[rows],
            funnel=self.funnel,
        )


def read_unsorted(path: Path) -> Unsorted:
    """Read every star of a file laid out like the training light curves.

    Of the columns beside positions and epochs only `sss_class` and `period` are read, for measuring and for
    the setting that is given the period; a file need not have them.

    Raises
    ------
    ConfigurationError
        If the file is not there, holds no star, or has not these columns.
    """
    table = read_columns(path, optional=OPTIONAL)
    series = epochs_of(table, path)
    funnel = Funnel(stars_in_file=len(table), stars_kept=len(table))
    kept, flux, flux_error = [], [], []
    for mjd, mag, mag_err in zip(*series, strict=True):
        rows = kept_epochs(mjd, mag, mag_err, funnel)
        funnel.epochs_in_file += len(mjd)
        funnel.epochs_kept += len(rows)
        of_flux, of_error = flux_of_mag(mag[rows], mag_err[rows])
        kept.append(mjd[rows])
        flux.append(of_flux.astype(np.float32))
        flux_error.append(of_error.astype(np.float32))
    n = len(table)
    ra, dec, longitude, latitude, period = (
        numbers_of(table, name, path) for name in ("ra", "dec", "l", "b", "period")
    )
    gal_lon, gal_lat = _galactic(ra, dec, longitude, latitude)
    star_id = table["id"].to_numpy()
    return Unsorted(
        stars=StarTable(
            star_id=np.array([star_name(each) for each in star_id]),
            label=np.full(n, -1),
            ra_deg=ra,
            dec_deg=dec,
            gal_lon_deg=gal_lon,
            gal_lat_deg=gal_lat,
            period_day=np.where(is_period(period), period, 0.0),
            mean_mag=np.array([_median_mag(each) for each in flux]),
            mjd=np.concatenate(kept),
            flux_njy=np.concatenate(flux),
            flux_err_njy=np.concatenate(flux_error),
            offsets=np.concatenate([[0], np.cumsum([len(each) for each in kept])]).astype(np.int64),
            profile=np.zeros((n, N_PHASES), np.float32),
        ),
        star_id=star_id,
        published=np.array([str(each or "") for each in table["sss_class"].to_pylist()]),
        funnel=funnel,
    )


def _galactic(
    ra_deg: FloatArray, dec_deg: FloatArray, longitude: FloatArray, latitude: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return galactic coordinates, from the positions where the file gives none that can be."""
    known = (np.abs(longitude) <= 360) & (np.abs(latitude) <= 90)
    placed = ~known & (np.abs(ra_deg) <= 360) & (np.abs(dec_deg) <= 90)
    longitude, latitude = (np.where(known, each, np.nan) for each in (longitude, latitude))
    longitude[placed], latitude[placed] = galactic_deg(ra_deg[placed], dec_deg[placed])
    return longitude, latitude


def _median_mag(flux_njy: NDArray[np.float32]) -> float:
    return float(-2.5 * np.log10(np.median(flux_njy) / AB_ZERO_NJY)) if len(flux_njy) else 0.0
