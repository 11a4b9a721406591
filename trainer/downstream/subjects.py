# SPDX-License-Identifier: BSD-3-Clause
"""What is embedded: catalogued stars, the objects of a dataset, or the alerts of an archive.

Beside its alert a subject carries what catalogues say of it. None of that is an input, but for a star's
catalogue period where that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from broker_plugin.errors import ConfigurationError
from broker_plugin.pipeline.alert_files import read_alerts
from broker_plugin.records import Alert
from broker_plugin.taxonomy import canonical_class
from trainer.data.ids import check_ids
from trainer.data.objects import alert_of, iter_objects
from trainer.data.unsorted import read_unsorted
from trainer.data.used import NO_STARS, UsedStars
from trainer.windows import first_windows, window_alerts

__all__ = ["OTHER_TYPE", "Subject", "Subjects", "read_subjects"]

OTHER_TYPE = "gcvs_type"
"""Column of a second catalogue's type, for subclasses; that of the General Catalogue of Variable Stars."""

CHUNK = 250
"""Stars whose alerts are made at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An alert and what catalogues say of its object.

    Parameters
    ----------
    id
        Unique in its file.
    label
        Class by the names of `broker_plugin.taxonomy`, None where there is none.
    published, other_type
        The catalogue's own spelling, and the type of a second catalogue.
    period_day
        The catalogue's period.
    """

    id: str
    alert: Alert
    label: str | None = None
    published: str | None = None
    other_type: str | None = None
    period_day: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """Subjects to be gone through once, how many there will be, and whether they were made up."""

    rows: Iterator[Subject]
    total: int
    simulated: bool = False

    def chunks(self, size: int) -> Iterator[list[Subject]]:
        """Yield lists of so many."""
        return iter(lambda: list(islice(self.rows, size)), [])


def read_subjects(
    paths: Sequence[Path],
    *,
    first: int | None = None,
    period: bool = False,
    without: UsedStars = NO_STARS,
) -> Subjects:
    """Return the subjects of one file of stars or of a dataset, or of alert files, archives, directories.

    Of an archive each object comes once, with its latest alert.

    Parameters
    ----------
    first
        Of stars, keep only so many first epochs.
    period
        Of stars, give the catalogue's period to the encoders.
    without
        Stars or objects to leave out.

    Raises
    ------
    ConfigurationError
        If the paths cannot be read so, or a star or object has no id of its own.
    """
    columns = _columns(paths[0]) if len(paths) == 1 else frozenset()
    if {"object_id", "published_label", "split"} <= columns:
        return _objects(paths[0], without)
    if {"id", "mjd", "mag"} <= columns:
        return _stars(paths[0], without, first=first, period=period)
    if first is not None or period:
        raise ConfigurationError("--first and --period are for catalogued stars; leave them away")
    return _alerts(paths)


def _columns(path: Path) -> frozenset[str]:
    """Return the columns of a Parquet file; none of anything else."""
    if path.suffix != ".parquet" or not path.is_file():
        return frozenset()
    try:
        return frozenset(pq.read_schema(path).names)
    except pa.ArrowInvalid as error:
        raise ConfigurationError(f"{path} is no Parquet file: {error}") from error


def _stars(path: Path, without: UsedStars, *, first: int | None, period: bool) -> Subjects:
    check_ids(path, "id")
    unsorted = read_unsorted(path)
    stars = unsorted.stars
    wanted = np.flatnonzero(~without.holds(stars.star_id, stars.ra_deg, stars.dec_deg))
    known = OTHER_TYPE in _columns(path)
    other = (
        pq.read_table(path, columns=[OTHER_TYPE])[OTHER_TYPE].to_pylist() if known else [None] * len(stars)
    )

    def rows() -> Iterator[Subject]:
        for start in range(0, len(wanted), CHUNK):
            chosen = wanted[start : start + CHUNK]
            windows = first_windows(stars, chosen, first, given=period)
            for row, alert in zip(chosen.tolist(), window_alerts(stars, chosen, windows), strict=True):
                published = str(unsorted.published[row]) or None
                yield Subject(
                    id=str(stars.star_id[row]),
                    alert=alert,
                    label=canonical_class(published) if published else None,
                    published=published,
                    other_type=other[row] or None,
                    period_day=float(stars.period_day[row]) or None,
                )

    return Subjects(rows=rows(), total=len(wanted))


def _objects(path: Path, without: UsedStars) -> Subjects:
    check_ids(path, "object_id")
    table = pq.read_table(path, columns=["object_id", "ra_deg", "dec_deg", "simulated"])
    every = UsedStars.of_table(table, ra="ra_deg", dec="dec_deg")
    wanted = (~without.holds(every.name, every.ra_deg, every.dec_deg)).tolist()
    rows = (
        Subject(
            id=row.object_id,
            alert=alert_of(row),
            label=row.label,
            published=row.published_label,
            period_day=row.period_day,
        )
        for row in compress(iter_objects(path), wanted)
    )
    return Subjects(rows=rows, total=sum(wanted), simulated=any(table["simulated"].to_pylist()))


def _alerts(paths: Sequence[Path]) -> Subjects:
    latest: dict[str, Alert] = {}
    for alert in read_alerts(*paths):
        known = latest.get(alert.object_id)
        if known is None or alert.mjd_tai >= known.mjd_tai:
            latest[alert.object_id] = alert
    rows = (Subject(id=name, alert=alert) for name, alert in latest.items())
    return Subjects(rows=rows, total=len(latest))
