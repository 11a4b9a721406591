# SPDX-License-Identifier: BSD-3-Clause
"""A candidate's light curve as a TOM's photometry: detections, forced points and limits kept apart.

One epoch is one row, known by its time, passband and kind (`reduction_version`: detection, forced or limit,
the survey's own upper limit where it detected nothing). What a later candidate says of the same epoch amends
the row: surveys measure forced fluxes anew with each alert.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import erfa
from tom_dataproducts.models import PhotometryReducedDatum

from broker_plugin.client import Candidate, Epoch, UpperLimit

__all__ = ["SOURCE", "Point", "amend_photometry", "rows_of"]

SOURCE = "AstroM3"
"""Source name of all that this app writes; the data service has the same, so that the TOM can update it."""

AB_ZERO_POINT = 31.4
"""Magnitude of one nanojansky."""

LIMIT_SIGMA = 3.0
"""A forced flux of fewer standard deviations becomes an upper limit of as many. Less, and noise is plotted as
brightness; more, and faint measurements are hidden."""

MJD_ZERO = 2_400_000.5

EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
"""MJD 0."""

BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one epoch is in a TOM. Either `brightness` or `limit` is None."""

    timestamp: datetime
    bandpass: str
    reduction_version: str
    brightness: float | None
    brightness_error: float | None
    limit: float | None
    value: dict[str, Any]

    @property
    def key(self) -> tuple[datetime, str, str]:
        """What an epoch is known by among those of its target."""
        return self.timestamp, self.bandpass, self.reduction_version


def rows_of(candidate: Candidate) -> tuple[Epoch | UpperLimit, ...]:
    """Return what is known of a candidate's light: its epochs, and where nothing was detected."""
    return (*candidate.light_curve, *candidate.upper_limits)


def _of_epoch(epoch: Epoch) -> Point:
    """Return what an epoch is in a TOM.

    A difference flux is no brightness of the object, so it has a passband of its own; one below zero, where
    the object is fainter than on the reference, has another.
    """
    band = epoch.band
    if not epoch.apparent:
        band += " difference" if epoch.flux_njy >= 0 else " negative difference"
    flux = abs(epoch.flux_njy) if not epoch.apparent else epoch.flux_njy
    faintest = LIMIT_SIGMA * epoch.flux_err_njy
    measured = flux > 0 and (epoch.origin == "detection" or flux >= faintest)
    return Point(
        timestamp=_utc(epoch.mjd_tai),
        bandpass=band,
        reduction_version=epoch.origin,
        brightness=_magnitude(flux) if measured else None,
        brightness_error=2.5 / math.log(10.0) * epoch.flux_err_njy / flux if measured else None,
        limit=None if measured else _magnitude(faintest),
        value=asdict(epoch),
    )


def _of_limit(limit: UpperLimit) -> Point:
    """Return what an upper limit is in a TOM: one on the change from the reference, in either direction."""
    return Point(
        timestamp=_utc(limit.mjd_tai),
        bandpass=f"{limit.band} difference",
        reduction_version="limit",
        brightness=None,
        brightness_error=None,
        limit=_magnitude(limit.limit_njy),
        value=asdict(limit),
    )


def amend_photometry(target: Any, rows: Iterable[Epoch | UpperLimit]) -> list[PhotometryReducedDatum]:
    """Bring a target's photometry up to date, and return those rows that are new or changed."""
    known = {
        (datum.timestamp, datum.bandpass, datum.reduction_version): datum
        for datum in PhotometryReducedDatum.objects.filter(target=target, source_name=SOURCE)
    }
    points = [_of_epoch(row) if isinstance(row, Epoch) else _of_limit(row) for row in rows]
    wanted = {point.key: point for point in points}
    new = [
        PhotometryReducedDatum(target=target, source_name=SOURCE, unit="AB mag", **_columns(point))
        for key, point in wanted.items()
        if key not in known
    ]
    changed = [known[key] for key, point in wanted.items() if key in known and _take(known[key], point)]
    PhotometryReducedDatum.objects.bulk_create(new, batch_size=BATCH)
    PhotometryReducedDatum.objects.bulk_update(
        changed, ["brightness", "brightness_error", "limit", "value"], batch_size=BATCH
    )
    return [*new, *changed]


def _take(datum: PhotometryReducedDatum, point: Point) -> bool:
    """Let a row say what a point says; return whether it said something else."""
    before = {name: getattr(datum, name) for name in _columns(point)}
    for name, value in _columns(point).items():
        setattr(datum, name, value)
    return before != _columns(point)


def _columns(point: Point) -> dict[str, Any]:
    return {
        "timestamp": point.timestamp,
        "bandpass": point.bandpass,
        "reduction_version": point.reduction_version,
        "telescope": point.bandpass.split("_")[0].upper(),
        "brightness": point.brightness,
        "brightness_error": point.brightness_error,
        "limit": point.limit,
        "value": point.value,
    }


def _magnitude(flux_njy: float) -> float | None:
    return AB_ZERO_POINT - 2.5 * math.log10(flux_njy) if flux_njy > 0 else None


def _utc(mjd_tai: float) -> datetime:
    day, fraction = erfa.taiutc(MJD_ZERO, mjd_tai)
    return EPOCH + timedelta(days=day - MJD_ZERO + fraction)
