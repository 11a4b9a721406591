# SPDX-License-Identifier: BSD-3-Clause
"""Every star of a file laid out like the training light curves, whatever is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError
from broker_plugin.surveys.photometry import AB_ZERO_NJY, flux_of_mag
from broker_plugin.surveys.sky import galactic_deg
from trainer.data.catalina import COLUMNS, Funnel, kept_epochs
from trainer.data.stars import N_PHASES, StarTable

__all__ = ["Unsorted", "read_unsorted"]

FloatArray = NDArray[np.float64]

OPTIONAL = ("period", "sss_class", "l", "b")
"""Columns that a file need not have: what nobody may know of its stars, and what their positions tell."""

SERIES = ("mjd", "mag", "mag_err")

PERIOD_MAX_DAY = 1e5
"""No survey is as long, so that nobody knows such a period."""


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
    table = _read(path)
    series = _series(table, path)
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
        _numbers(table, name, path) for name in ("ra", "dec", "l", "b", "period")
    )
    gal_lon, gal_lat = _galactic(ra, dec, longitude, latitude)
    star_id = table["id"].to_numpy()
    return Unsorted(
        stars=StarTable(
            star_id=np.array([f"css:{each}" for each in star_id]),
            label=np.full(n, -1),
            ra_deg=ra,
            dec_deg=dec,
            gal_lon_deg=gal_lon,
            gal_lat_deg=gal_lat,
            period_day=np.where((period > 0) & (period < PERIOD_MAX_DAY), period, 0.0),
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


def _read(path: Path) -> pa.Table:
    """Return the columns of the file, null where it need not have one and has not."""
    try:
        there = pq.read_schema(path).names
        missing = [name for name in COLUMNS if name not in there]
        if needed := [name for name in missing if name not in OPTIONAL]:
            raise ConfigurationError(
                f"{path} has no column {', '.join(needed)}; stars are read from a Parquet file with the "
                f"columns {', '.join(COLUMNS)}, of which {', '.join(OPTIONAL)} may be missing"
            )
        table = pq.read_table(path, columns=[name for name in COLUMNS if name in there])
    except (OSError, pa.ArrowException) as error:
        raise ConfigurationError(f"cannot read stars from {path}: {error}; give a Parquet file") from error
    if len(table) == 0:
        raise ConfigurationError(f"{path} holds no star")
    if pc.any(pc.is_null(table["id"], nan_is_null=True)).as_py():
        raise ConfigurationError(f"{path}: a star has no id; give each one")
    for name in missing:
        table = table.append_column(name, pa.nulls(len(table)))
    return table


def _series(table: pa.Table, path: Path) -> list[list[FloatArray]]:
    """Return the epochs of each star, column by column."""
    found = []
    for name in SERIES:
        try:
            column = table[name].combine_chunks().cast(pa.list_(pa.float64()))
        except pa.ArrowException as error:
            raise ConfigurationError(
                f"{path}: column {name} must hold a list of numbers for each star, and is {table[name].type}"
            ) from error
        values = column.values.to_numpy(zero_copy_only=False)
        found.append([values[a:b] for a, b in pairwise(column.offsets.to_numpy())])
    for star_id, *each in zip(table["id"].to_pylist(), *found, strict=True):
        numbers = [str(len(column)) for column in each]
        if len(set(numbers)) > 1:
            raise ConfigurationError(
                f"{path}: star {star_id} has {', '.join(numbers)} values of {', '.join(SERIES)}; these must "
                "be as many"
            )
    return found


def _numbers(table: pa.Table, name: str, path: Path) -> FloatArray:
    """Return a column as numbers, NaN where it is null."""
    try:
        values: FloatArray = table[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise ConfigurationError(f"{path}: column {name} must hold numbers: {error}") from error
    return values


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
