# SPDX-License-Identifier: BSD-3-Clause
"""Periodic variables of the Catalina Southern Survey (Drake et al. 2017, MNRAS 469, 3688).

Labels are the published classes (`sss_class`), never proxies derived from period or amplitude. The
catalogue's magnitude, amplitude and number of epochs are not read: they sum up all epochs, of which an alert
has seen a few. Nothing is dropped silently: `Funnel` counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError
from broker_plugin.surveys.photometry import MAG_MAX, MAG_MIN, flux_of_mag, known_pair
from broker_plugin.taxonomy import CLASSES, canonical_class
from trainer.data.star_file import epochs_of, is_period, numbers_of, read_columns
from trainer.data.stars import StarTable, folded_profile

__all__ = [
    "FILE",
    "Funnel",
    "Labelled",
    "file_digest",
    "kept_epochs",
    "learned_classes",
    "read_catalina",
    "star_name",
]

FILE = "lightcurves/catalina_sss.parquet"
"""Where the light curves lie in the data folder."""

MJD_MIN, MJD_MAX = 50_000.0, 62_000.0
"""The survey ran from 2005 to 2013; a time outside is a slip (three stars have one at -2409998.5)."""

MIN_EPOCHS = 30
"""Fewer epochs do not define a folded light curve."""

NUMBERS = ("ra", "dec", "l", "b", "period")


@dataclass(slots=True)
class Funnel:
    """What was read and what was left out, step by step."""

    stars_in_file: int = 0
    stars_of_unknown_class: int = 0
    stars_of_classes_held_out: int = 0
    stars_at_invalid_positions: int = 0
    stars_without_a_period: int = 0
    stars_with_too_few_epochs: int = 0
    stars_kept: int = 0
    epochs_in_file: int = 0
    epochs_at_impossible_times: int = 0
    epochs_with_invalid_magnitudes: int = 0
    epochs_kept: int = 0

    def lines(self) -> list[str]:
        """Return the counts as lines to print."""
        return [f"{name.replace('_', ' '):<32}{count:>12,}" for name, count in asdict(self).items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Stars of known classes.

    Parameters
    ----------
    classes
        The classes that a star was kept of, in the taxonomy's order; labels are positions in it.
    absent
        Those that are not held out and that no star was kept of.
    funnel
        What was left out of the file.
    """

    stars: StarTable
    classes: tuple[str, ...]
    absent: tuple[str, ...]
    funnel: Funnel


def read_catalina(data: Path, *, held_out: Collection[str] = ()) -> Labelled:
    """Read the light curves.

    Parameters
    ----------
    data
        The data folder, or the file itself.
    held_out
        Classes whose stars are left out, as if the catalogue did not have them.

    Raises
    ------
    ConfigurationError
        If they are not there or cannot be read, or no star can be used; the message says what to do.
    """
    path = data if data.is_file() else data / FILE
    if not path.is_file():
        raise ConfigurationError(
            f"no light curves at {path}; give --data the folder that holds {FILE}, or set ASTROM3_DATA to it"
        )
    funnel = Funnel()
    names = learned_classes(held_out)
    rows: list[dict[str, Any]] = []
    table = read_columns(path)
    epochs = epochs_of(table, path)
    scalars = {name: numbers_of(table, name, path) for name in NUMBERS}
    scalars |= {name: table[name].to_numpy() for name in ("id", "sss_class")}
    for position, series in enumerate(zip(*epochs, strict=True)):
        row = _star({name: values[position] for name, values in scalars.items()}, series, names, funnel)
        if row is not None:
            rows.append(row)
    funnel.stars_kept = len(rows)
    if not rows:
        raise ConfigurationError(
            f"no star of {path} can be used:\n  " + "\n  ".join(funnel.lines()),
            remedy=f"give stars of {', '.join(names)} with a period and {MIN_EPOCHS} epochs or more",
        )
    stars = _table(rows)
    present, label = np.unique(stars.label, return_inverse=True)
    classes = tuple(names[each] for each in present)
    return Labelled(
        stars=replace(stars, label=label.astype(np.int64)),
        classes=classes,
        absent=tuple(name for name in names if name not in classes),
        funnel=funnel,
    )


def learned_classes(held_out: Collection[str]) -> list[str]:
    """Return the classes of the taxonomy that are not held out, in order.

    Raises
    ------
    ConfigurationError
        If there is no such class.
    """
    names = [entry.name for entry in CLASSES]
    if unknown := set(held_out) - set(names):
        raise ConfigurationError(
            f"data.held_out_classes names {', '.join(sorted(unknown))}; the classes are {', '.join(names)}"
        )
    return [name for name in names if name not in held_out]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _star(
    scalars: Mapping[str, Any],
    series: tuple[NDArray[np.float64], ...],
    names: list[str],
    funnel: Funnel,
) -> dict[str, Any] | None:
    funnel.stars_in_file += 1
    mjd, mag, mag_err = series
    funnel.epochs_in_file += len(mjd)
    name = canonical_class(str(scalars["sss_class"]))
    if name is None:
        funnel.stars_of_unknown_class += 1
        return None
    if name not in names:
        funnel.stars_of_classes_held_out += 1
        return None
    if not np.isfinite([scalars[key] for key in ("ra", "dec", "l", "b")]).all():
        funnel.stars_at_invalid_positions += 1
        return None
    if not is_period(scalars["period"]):  # light curves are folded to imitate alerts and to make them odd
        funnel.stars_without_a_period += 1
        return None
    kept = kept_epochs(mjd, mag, mag_err, funnel)
    if len(kept) < MIN_EPOCHS:
        funnel.stars_with_too_few_epochs += 1
        return None
    funnel.epochs_kept += len(kept)
    flux, error = flux_of_mag(mag[kept], mag_err[kept])
    level = float(np.median(flux))
    return {
        "star_id": star_name(scalars["id"]),
        "label": names.index(name),
        "ra_deg": scalars["ra"],
        "dec_deg": scalars["dec"],
        "gal_lon_deg": scalars["l"],
        "gal_lat_deg": scalars["b"],
        "period_day": scalars["period"],
        "mean_mag": float(np.median(mag[kept])),
        "mjd": mjd[kept],
        "flux_njy": flux.astype(np.float32),
        "flux_err_njy": error.astype(np.float32),
        "profile": folded_profile(mjd[kept], flux / level - 1, error / level, float(scalars["period"])),
    }


def star_name(star_id: object) -> str:
    """Return the identifier of a star of a file.

    Examples
    --------
    >>> star_name(1001), star_name("V12")
    ('css:1001', 'css:V12')
    """
    return f"css:{star_id}"


def kept_epochs(
    mjd: NDArray[np.float64], mag: NDArray[np.float64], mag_err: NDArray[np.float64], funnel: Funnel
) -> NDArray[np.intp]:
    """Return the positions of the epochs that are measurements, in order of time.

    Those of one time, two sources of an image or a survey's slip, come the brighter first: the order of a
    file's rows says nothing.
    """
    in_time = (mjd > MJD_MIN) & (mjd < MJD_MAX)
    funnel.epochs_at_impossible_times += int((~in_time).sum())
    with np.errstate(over="ignore", invalid="ignore"):  # of what is no magnitude
        flux, _ = known_pair(*flux_of_mag(mag, mag_err))
    measured = (mag >= MAG_MIN) & (mag <= MAG_MAX) & np.isfinite(flux)
    funnel.epochs_with_invalid_magnitudes += int((in_time & ~measured).sum())
    kept = np.flatnonzero(in_time & measured)
    return kept[np.lexsort((mag_err[kept], mag[kept], mjd[kept]))]


def _table(rows: list[dict[str, Any]]) -> StarTable:
    lengths = [len(row["mjd"]) for row in rows]
    columns: dict[str, Any] = {
        name: np.array([row[name] for row in rows], np.float64)
        for name in ("ra_deg", "dec_deg", "gal_lon_deg", "gal_lat_deg", "period_day", "mean_mag")
    }
    columns |= {
        name: np.concatenate([row[name] for row in rows]) for name in ("mjd", "flux_njy", "flux_err_njy")
    }
    return StarTable(
        **columns,
        star_id=np.array([row["star_id"] for row in rows]),
        label=np.array([row["label"] for row in rows], np.int64),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        profile=np.array([row["profile"] for row in rows], np.float32),
    )
