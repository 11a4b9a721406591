# SPDX-License-Identifier: BSD-3-Clause
"""The ASAS training set of Richards et al. (2012, ApJS 203, 32): 810 light curves in V, 28 classes.

It gives neither positions nor periods, so a star is its light curve and its median magnitude.
"""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError
from broker_plugin.records import Alert
from broker_plugin.surveys.photometry import flux_of_mag
from trainer.data.stars import N_PHASES, StarTable
from trainer.data.unsorted import Unsorted
from trainer.star_settings import alerts_of

__all__ = ["SETTINGS", "alerts_in", "read_asas"]

FOLDER = "lightcurves/asas"
"""Where it lies in the data folder."""

ARCHIVE, CLASSES = "asas_training_set.tar.gz", "asas_training_set_classes.dat"

MJD_OF_TIME = 49_999.5
"""MJD of the zero of the file's times, HJD 2450000. Heliocentric times are taken for the observer's: they
differ by up to 8 minutes, a few hundredths of the shortest period here."""

SETTINGS = ("all", "100", "30", "10", "3", "1")
"""The settings of evaluation that need neither a period nor a position."""

POSITION = ("gal_lon_deg", "gal_lat_deg")


def read_asas(data: Path) -> Unsorted:
    """Read the stars from the data folder.

    Raises
    ------
    ConfigurationError
        If they are not there, or a star has a class and no light curve.
    """
    folder = data / FOLDER
    try:
        with (folder / CLASSES).open(encoding="utf-8", newline="") as file:
            published = {row["filename"]: row["class"] for row in csv.DictReader(file)}
        curves = dict(_curves(folder / ARCHIVE))
    except OSError as error:
        raise ConfigurationError(
            f"no ASAS training set in {folder}: {error.strerror}; give --data the folder that holds {FOLDER}"
        ) from error
    if missing := set(published) - set(curves):
        raise ConfigurationError(f"{folder / ARCHIVE} lacks the light curves of {len(missing)} stars")
    names = sorted(published, key=int)
    return Unsorted(
        stars=_table(names, [curves[name] for name in names]),
        star_id=np.array(names, np.int64),
        published=np.array([published[name] for name in names]),
    )


def alerts_in(stars: Unsorted, setting: str, rows: NDArray[np.int64]) -> list[Alert]:
    """Return the alert of each of some stars in a setting, without the position that it does not have."""
    return [
        replace(
            alert, metadata={name: value for name, value in alert.metadata.items() if name not in POSITION}
        )
        for alert in alerts_of(stars, setting, rows)
    ]


def _curves(archive: Path) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield name and light curve (N, 3) of each star: MJD, magnitude, error; only what is a measurement."""
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if member.isfile() and member.name.endswith(".dat") and file is not None:
                rows = np.loadtxt(io.TextIOWrapper(file, "ascii"), delimiter=",", ndmin=2)
                rows = rows[np.isfinite(rows).all(axis=1) & (rows[:, 2] > 0)]
                rows = rows[np.argsort(rows[:, 0], kind="stable")]
                yield Path(member.name).stem, rows + np.array([MJD_OF_TIME, 0.0, 0.0])


def _table(names: list[str], curves: list[NDArray[np.float64]]) -> StarTable:
    rows = np.concatenate(curves)
    flux, error = flux_of_mag(rows[:, 1], rows[:, 2])
    n = len(names)
    nowhere = np.zeros(n)
    return StarTable(
        star_id=np.array([f"asas:{name}" for name in names]),
        label=np.full(n, -1),
        ra_deg=nowhere,
        dec_deg=nowhere,
        gal_lon_deg=nowhere,
        gal_lat_deg=nowhere,
        period_day=np.zeros(n),
        mean_mag=np.array([np.median(curve[:, 1]) for curve in curves]),
        mjd=rows[:, 0],
        flux_njy=flux.astype(np.float32),
        flux_err_njy=error.astype(np.float32),
        offsets=np.concatenate([[0], np.cumsum([len(curve) for curve in curves])]).astype(np.int64),
        profile=np.zeros((n, N_PHASES), np.float32),
    )
