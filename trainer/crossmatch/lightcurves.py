# SPDX-License-Identifier: BSD-3-Clause
"""Light curves as surveys publish them, to TAI and nJy, with the cuts of the configuration."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import erfa
import numpy as np
from numpy.typing import NDArray

from broker_plugin.errors import ConfigurationError
from broker_plugin.records import Access, LightCurve, Origin
from broker_plugin.surveys.photometry import flux_of_mag
from broker_plugin.taxonomy import passband_code
from broker_plugin.times import MJD_ZERO, possible_mjd, tai_mjd_of_utc_jd
from trainer.crossmatch.settings import Cuts, LightCurveFilesSource, TimeSettings

__all__ = ["BandEpochs", "keep_light_curve", "light_curve_members", "mjd_tai_of", "read_light_curve_files"]

FloatArray = NDArray[np.float64]
BandEpochs = tuple[str, FloatArray, FloatArray, FloatArray]
"""Passband; times as the source counts them, magnitudes and their errors, shape (T,) each."""


def keep_light_curve(
    bands: Sequence[BandEpochs], time: TimeSettings, cuts: Cuts, *, funnel: Counter[str]
) -> LightCurve | None:
    """Return the epochs that pass the cuts, in order of time, or None if too few do; each cut is counted.

    Of epochs at one time in one band the first is kept.
    """
    mjd = mjd_tai_of(np.concatenate([np.zeros(0), *(each[1] for each in bands)]), time)
    mag = np.concatenate([np.zeros(0), *(each[2] for each in bands)])
    error = np.concatenate([np.zeros(0), *(each[3] for each in bands)])
    band = np.repeat([passband_code(each[0]) for each in bands], [len(each[1]) for each in bands])
    funnel["light curves read"] += 1
    funnel["epochs read"] += len(mjd)
    kept = np.ones(len(mjd), np.bool_)
    for reason, passed in (
        (
            "epochs at impossible times or outside the time range",
            (mjd >= cuts.mjd_min) & (mjd <= cuts.mjd_max),
        ),
        ("epochs without a magnitude or its error", np.isfinite(mag) & np.isfinite(error) & (error > 0)),
        ("epochs outside the magnitude range", (mag >= cuts.mag_min) & (mag <= cuts.mag_max)),
        ("epochs with too large an error", error <= cuts.max_mag_err),
    ):
        funnel[reason] += int((kept & ~passed).sum())
        kept &= passed
    rows = np.flatnonzero(kept)
    rows = rows[np.lexsort((rows, band[rows], mjd[rows]))]
    again = (np.diff(mjd[rows], prepend=np.nan) == 0) & (np.diff(band[rows], prepend=-1) == 0)
    funnel["epochs listed twice"] += int(again.sum())
    rows = rows[~again]
    funnel["epochs kept, before the least number"] += len(rows)
    if len(rows) < cuts.min_epochs:
        funnel["light curves with too few epochs"] += 1
        return None
    funnel["light curves kept"] += 1
    flux, flux_err = flux_of_mag(mag[rows], error[rows])
    return LightCurve(
        mjd_tai=mjd[rows],
        flux_njy=flux.astype(np.float32),
        flux_err_njy=flux_err.astype(np.float32),
        band=band[rows].astype(np.int8),
        origin=np.full(len(rows), Origin.DETECTION, np.int8),
        apparent=np.ones(len(rows), np.bool_),
        detector=np.zeros(len(rows), np.int32),
        access=np.full(len(rows), Access.PUBLIC, np.int8),
    )


def mjd_tai_of(number: FloatArray, time: TimeSettings) -> FloatArray:
    """Return times as MJD in TAI; NaN for what is not between 1990 and 2100.

    Examples
    --------
    >>> utc = TimeSettings(scale="utc", zero_mjd=49999.5)
    >>> round(float((mjd_tai_of(np.array([8451.5]), utc)[0] - 58451.0) * 86400), 3)
    37.0
    """
    mjd = number + time.zero_mjd
    possible = possible_mjd(mjd)
    safe = np.where(possible, mjd, MJD_J2000)
    if time.scale == "utc":
        tai = tai_mjd_of_utc_jd(safe + MJD_ZERO, np.zeros(len(safe)))
    elif time.scale == "tai":
        tai = safe
    else:
        # TDB stays within 2 ms of TT, which is less than any exposure here.
        tai_1, tai_2, _ = erfa.ufunc.tttai(np.full(len(safe), MJD_ZERO), safe)
        tai = (tai_1 - MJD_ZERO) + tai_2
    return np.where(possible, tai, np.nan)


MJD_J2000 = 51544.5
"""Stands in for impossible times while the others are converted."""


def light_curve_members(
    data: Path, files: Sequence[Path], source: LightCurveFilesSource
) -> dict[str, list[tuple[Path, str | None]]]:
    """Return the files of each object's id, with the member where a file is a tar archive."""
    pattern = re.compile(source.id_pattern)
    members: defaultdict[str, list[tuple[Path, str | None]]] = defaultdict(list)
    for path in files:
        for member in _tar_members(path) if _is_tar(path) else [None]:
            found = pattern.search(member or path.relative_to(data).as_posix())
            if found:
                members[found["id"]].append((path, member))
    return dict(members)


def read_light_curve_files(
    data: Path, files: Sequence[Path], source: LightCurveFilesSource
) -> Iterator[tuple[str, list[BandEpochs]]]:
    """Yield each object's id and its measurements; files of one id are joined."""
    members = light_curve_members(data, files, source)
    archives = {path: tarfile.open(path) for path in files if _is_tar(path)}  # noqa: SIM115 - closed below
    try:
        for key, entries in members.items():
            texts = [_text(path, member, archives) for path, member in entries]
            yield (
                key,
                [
                    epochs
                    for text, (path, member) in zip(texts, entries, strict=True)
                    for epochs in _measured(text, source, member or path.name)
                ],
            )
    finally:
        for archive in archives.values():
            archive.close()


def _is_tar(path: Path) -> bool:
    return ".tar" in path.suffixes


def _tar_members(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        return [member.name for member in archive.getmembers() if member.isfile()]


def _text(path: Path, member: str | None, archives: Mapping[Path, tarfile.TarFile]) -> str:
    if member is not None:
        file = archives[path].extractfile(member)
        return "" if file is None else file.read().decode("utf-8", "replace")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", errors="replace") as text:
        return str(text.read())


def _measured(text: str, source: LightCurveFilesSource, name: str) -> Iterator[BandEpochs]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(source.comment)]
    rows = (
        list(csv.reader(io.StringIO("\n".join(lines)), delimiter=source.delimiter))
        if source.delimiter
        else [line.split() for line in lines]
    )
    position = _positions(rows, source, name)
    body = rows[1:] if source.header else rows
    for each in source.measurements:
        try:
            wanted = [(position[column], values) for column, values in each.where.items()]
            columns = [position[column] for column in (each.time, each.mag, each.mag_err)]
        except KeyError as missing:
            raise ConfigurationError(f"source {source.name}: no column {missing} in {name}") from missing
        chosen = [
            row for row in body if all(at < len(row) and row[at].strip() in values for at, values in wanted)
        ]
        numbers = np.array(
            [[_number(row[at]) if at < len(row) else np.nan for at in columns] for row in chosen], np.float64
        ).reshape(len(chosen), 3)
        yield each.band, numbers[:, 0], numbers[:, 1], numbers[:, 2]


def _positions(rows: Sequence[Sequence[str]], source: LightCurveFilesSource, name: str) -> dict[str, int]:
    if not rows:
        raise ConfigurationError(f"source {source.name}: {name} holds no lines")
    if source.header:
        return {column.strip(): at for at, column in enumerate(rows[0])}
    return {str(at): at for at in range(max(len(row) for row in itertools.islice(rows, 100)))}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan
