# SPDX-License-Identifier: BSD-3-Clause
"""Alerts of the Zwicky Transient Facility, schema 3.0 to 4.02, with and without forced photometry.

What the fields mean is in the tables of `ztf_fields`; the rules that a table cannot hold are these.

Flux
    `magpsf` is the magnitude of the absolute difference and `isdiffpos` its sign. Where the source on the
    reference image is the object (median `distnr` of the band within 1.4 arcsec), the flux of `magnr` is
    added and the band is apparent. In a galaxy (`sgscore1` says so) the reference is the host, and near an
    asteroid it is someone else: there the band stays difference flux, as it does where no reference is known.
History
    Rows of `prv_candidates` without `candid` are upper limits, not epochs. `objectId` stands for a position,
    so the history and the catalogue neighbours of a solar-system source are somebody else's and are left out.
Access
    `programid` 1 is public, 2 the partnership's, 3 Caltech's; anything else is private. Rows that may not be
    seen are removed before all else. Counters over the whole history (`ndethist`, `ncovhist`, `jdstarthist`)
    would betray them and are never read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.epochs import EpochRows
from broker_plugin.errors import RejectedAlert, RejectReason
from broker_plugin.records import Access, Alert, LightCurve, Origin, Provenance, QualityFlag, SourceContext
from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.context import REFERENCE_IS_SOURCE_ARCSEC, SAME_SOURCE_ARCSEC, ztf_context
from broker_plugin.surveys.drift import SchemaNeeds
from broker_plugin.surveys.epochs import UNKNOWN_BAND, light_curve_of, median
from broker_plugin.surveys.fields import (
    Kind,
    RecordTable,
    integer,
    number,
    read_columns,
    required_integer,
    required_number,
    required_text,
    rows_of,
    text,
)
from broker_plugin.surveys.photometry import flux_of_counts, flux_of_mag, known_pair
from broker_plugin.surveys.sky import galactic_deg, separation_arcsec
from broker_plugin.surveys.ztf_fields import CANDIDATE, DETECTIONS, FORCED, IDENTITY
from broker_plugin.taxonomy import passband_code
from broker_plugin.times import MJD_ZERO, SECONDS_PER_DAY, possible_mjd, tai_mjd_of_utc_jd

__all__ = ["ZtfAdapter"]

EXPOSURE_S = 30.0
"""Exposure where a packet states none: that of ZTF's public survey. Wrong for the few longer exposures, by up
to two minutes at 240 s."""

SAME_EXPOSURE_MS = 864
"""Start times nearer than this (1e-5 d) are of one exposure; two exposures are 38 s apart at the least."""

USABLE_STATUS = frozenset({"0", "57"})
"""Processing codes of forced photometry that leave the flux sound: 0 is clean, and 57 only says that no
reference source is near. 56 warns of bad pixels under the source; 55 and 61 come without a flux."""

SIGNS: Mapping[str | int, float] = {"t": 1.0, "1": 1.0, 1: 1.0, "f": -1.0, "0": -1.0, 0: -1.0}
"""Spellings of `isdiffpos` (booleans are integers here). Any other leaves the sign, so the flux, unknown."""

BANDS = {1: passband_code("ztf_g"), 2: passband_code("ztf_r"), 3: passband_code("ztf_i")}
"""Passband code by `fid`."""

PROGRAMMES = {1: Access.PUBLIC, 2: Access.PARTNERSHIP, 3: Access.CALTECH}

PS1_COLUMNS = ("star_galaxy_score", "ps1_g_mag", "ps1_r_mag", "ps1_i_mag", "ps1_z_mag")


class ZtfAdapter:
    """Turns ZTF packets into alerts."""

    name = "ztf"
    needs = SchemaNeeds(
        names=re.compile(r"ztf\.alert"), trigger=(IDENTITY, CANDIDATE), history=(DETECTIONS, FORCED)
    )
    histories: tuple[str, ...] = (DETECTIONS.path, FORCED.path)

    def recognises(self, packet: Packet) -> bool:
        """Tell whether a packet is a ZTF alert."""
        return "objectId" in packet and isinstance(packet.get(CANDIDATE.path), Mapping)

    def access_of(self, packet: Packet) -> frozenset[Access]:
        """Return every access class that occurs in a packet."""
        candidate = packet.get(CANDIDATE.path)
        found = {_access(candidate) if isinstance(candidate, Mapping) else Access.PRIVATE}
        for path in (DETECTIONS.path, FORCED.path):
            rows = packet.get(path)
            records = rows_of(packet, path)
            found |= {_access(record) for record in records}
            if rows is not None and (not isinstance(rows, list) or len(records) < len(rows)):
                found.add(Access.PRIVATE)  # what is not a record carries no mark
        return frozenset(found)

    def adapt(self, packet: Packet, *, access: frozenset[Access], provenance: Provenance) -> Alert:
        """Return the alert of one packet, made only of what `access` may see."""
        try:
            return _adapt(packet, access, provenance)
        except RejectedAlert as rejection:
            raise RejectedAlert(
                rejection.reason, rejection.detail, access=self.access_of(packet)
            ) from rejection

    def light_curve(
        self, rows: EpochRows, mjd_tai: float, context: SourceContext
    ) -> tuple[LightCurve, set[QualityFlag]]:
        """Return the light curve up to a time and what is to be remarked about it."""
        return _light_curve(rows, mjd_tai, context)


def _adapt(packet: Packet, access: frozenset[Access], provenance: Provenance) -> Alert:
    candidate = packet.get(CANDIDATE.path)
    if not isinstance(candidate, Mapping):
        raise RejectedAlert(RejectReason.MISSING_FIELD, "the packet has no candidate record")
    if _access(candidate) not in access:
        raise RejectedAlert(
            RejectReason.ACCESS,
            "the sink is not declared for the programme that took this alert; declare it or leave it out",
        )
    # Older packets of brokers name the alert only at the top.
    candid = integer(candidate, CANDIDATE["candid"]) or required_integer(packet, IDENTITY["candid"])
    object_name = required_text(packet, IDENTITY["object_name"])
    ra_deg = required_number(candidate, CANDIDATE["ra_deg"])
    dec_deg = required_number(candidate, CANDIDATE["dec_deg"])
    _check_measurement(candidate)
    values = {field.name: number(candidate, field) for field in CANDIDATE.fields if field.kind is Kind.NUMBER}
    detections = [row for row in _visible(packet, DETECTIONS, access) if row.get("candid") is not None]
    context = _context(candidate, values, seen_before=bool(detections))
    moving = context is SourceContext.SOLAR_SYSTEM
    if moving:
        detections = []
    forced = [] if moving else _visible(packet, FORCED, access)
    rows = _epoch_rows(candidate, detections, forced, centre=(ra_deg, dec_deg))
    mjd_tai = float(rows.mjd_tai[0])
    curve, flags = _light_curve(rows, mjd_tai, context)
    return Alert(
        survey=ZtfAdapter.name,
        alert_id=candid,
        object_id=f"ztf:{object_name}",
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        mjd_tai=mjd_tai,
        light_curve=curve,
        metadata=_metadata(candidate, values, ra_deg, dec_deg, moving=moving),
        source_context=context,
        flags=tuple(flag for flag in QualityFlag if flag in flags),
        provenance=_with_schema(packet, provenance),
        rows=None if moving else rows,
    )


def _light_curve(
    rows: EpochRows, mjd_tai: float, context: SourceContext
) -> tuple[LightCurve, set[QualityFlag]]:
    own_bands: frozenset[int] = frozenset()
    if context not in (SourceContext.SOLAR_SYSTEM, SourceContext.GALAXY_HOST):
        own_bands = _own_bands(rows)
    return light_curve_of(rows, mjd_tai, apparent_bands=own_bands, same_exposure=SAME_EXPOSURE_MS)


def _access(record: Mapping[str, Any]) -> Access:
    programme = record.get(CANDIDATE["programme"].path)
    return PROGRAMMES.get(programme, Access.PRIVATE) if type(programme) is int else Access.PRIVATE


def _visible(packet: Packet, table: RecordTable, access: frozenset[Access]) -> list[Mapping[str, Any]]:
    return [row for row in rows_of(packet, table.path) if _access(row) in access]


def _check_measurement(candidate: Mapping[str, Any]) -> None:
    """Reject an alert whose own measurement has no time, band, sign or size."""
    for name in ("mag", "mag_err"):
        required_number(candidate, CANDIDATE[name])
    if required_integer(candidate, CANDIDATE["filter"]) not in BANDS:
        raise RejectedAlert(RejectReason.INVALID_VALUE, "fid is none of ZTF's filters")
    if np.isnan(_sign(candidate.get(CANDIDATE["sign"].path))):
        raise RejectedAlert(RejectReason.INVALID_VALUE, "isdiffpos is in none of its four spellings")
    jd = np.array([required_number(candidate, CANDIDATE["jd_utc"])])
    if not possible_mjd(tai_mjd_of_utc_jd(jd, np.zeros(1))).all():
        raise RejectedAlert(RejectReason.INVALID_VALUE, "jd is not between 1990 and 2100")


def _sign(value: object) -> float:
    return SIGNS.get(value, np.nan) if isinstance(value, (str, int)) else np.nan


def _epoch_rows(
    candidate: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    forced: Sequence[Mapping[str, Any]],
    *,
    centre: tuple[float, float],
) -> EpochRows:
    """Return the rows of all epochs, the alert's own first."""
    seen = read_columns([candidate, *detections], DETECTIONS)
    looked = read_columns(forced, FORCED)
    n_seen, n = len(detections) + 1, len(detections) + 1 + len(forced)

    def both(name: str) -> NDArray[Any]:
        return np.concatenate([seen[name], looked[name]])

    signs = np.array([_sign(value) for value in seen["sign"]])
    seen_flux, seen_err = flux_of_mag(seen["mag"], seen["mag_err"])
    sound = np.array([_is_usable(status) for status in looked["status"]], np.bool_)
    looked_flux = np.where(sound, flux_of_counts(looked["counts"], looked["zero_point_mag"]), np.nan)
    looked_err = flux_of_counts(looked["counts_err"], looked["zero_point_mag"])
    difference, difference_err = known_pair(
        np.concatenate([signs * seen_flux, looked_flux]), np.concatenate([seen_err, looked_err])
    )
    reference, reference_err = known_pair(*flux_of_mag(both("reference_mag"), both("reference_mag_err")))
    jd = both("jd_utc")
    exposure_s = both("exposure_s")
    exposure_s[np.isnan(exposure_s)] = EXPOSURE_S
    missing = np.full(n, np.nan)
    separation = missing.copy()
    separation[:n_seen] = separation_arcsec(seen["ra_deg"], seen["dec_deg"], centre=centre)
    identifier = np.zeros(n, np.int64)
    identifier[:n_seen] = seen["candid"]
    access = [int(_access(row)) for row in (candidate, *detections, *forced)]
    return EpochRows(
        mjd_tai=tai_mjd_of_utc_jd(jd, exposure_s / 2),
        band=np.array([BANDS.get(fid, UNKNOWN_BAND) for fid in both("filter").tolist()], np.int8),
        origin=np.repeat([Origin.DETECTION, Origin.FORCED], [n_seen, n - n_seen]).astype(np.int8),
        detector=both("channel").astype(np.int32),
        access=np.array(access, np.int8),
        exposure=_exposure_number(jd),
        identifier=identifier,
        separation_arcsec=separation,
        difference_njy=difference,
        difference_err_njy=difference_err,
        reference_njy=reference,
        reference_err_njy=reference_err,
        reference_arcsec=both("reference_arcsec"),
        total_njy=missing,
        total_err_njy=missing,
        withdrawn=np.zeros(n, np.bool_),
        trigger=np.arange(n) == 0,
    )


def _is_usable(status: str | None) -> bool:
    return status is not None and {code.strip() for code in status.split(",")} <= USABLE_STATUS


def _exposure_number(jd: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the start of each exposure in ms of MJD, which is the same in every packet; 0 where unknown."""
    return np.rint((np.nan_to_num(jd, nan=MJD_ZERO) - MJD_ZERO) * SECONDS_PER_DAY * 1000).astype(np.int64)


def _own_bands(rows: EpochRows) -> frozenset[int]:
    """Return the bands in which the source on the reference image is the object."""
    own = set()
    for band in set(rows.band.tolist()):
        known = rows.reference_arcsec[(rows.band == band) & ~np.isnan(rows.reference_arcsec)]
        if len(known) and median(known) <= REFERENCE_IS_SOURCE_ARCSEC:
            own.add(band)
    return frozenset(own)


def _context(
    candidate: Mapping[str, Any], values: Mapping[str, float | None], *, seen_before: bool
) -> SourceContext:
    mag, reference_mag = values["mag"], values["reference_mag"]
    return ztf_context(
        asteroid_arcsec=_asteroid_arcsec(candidate, values),
        reference_arcsec=values["reference_arcsec"],
        reference_brighter=mag is not None and reference_mag is not None and reference_mag <= mag,
        drb=values["drb"],
        rb=values["rb"],
        star_score=values["star_galaxy_score"],
        ps1_arcsec=values["ps1_arcsec"],
        seen_before=seen_before,
    )


def _asteroid_arcsec(candidate: Mapping[str, Any], values: Mapping[str, float | None]) -> float | None:
    named = text(candidate, CANDIDATE["asteroid"]) is not None
    return values["asteroid_arcsec"] if named else None  # ZTF writes 60 where there is no asteroid


def _metadata(
    candidate: Mapping[str, Any],
    values: Mapping[str, float | None],
    ra_deg: float,
    dec_deg: float,
    *,
    moving: bool,
) -> dict[str, float]:
    longitude, latitude = galactic_deg(ra_deg, dec_deg)
    found: dict[str, float | None] = {"gal_lon_deg": longitude, "gal_lat_deg": latitude}
    found["reliability"] = values["drb"] if values["drb"] is not None else values["rb"]
    found["solar_system_distance_arcsec"] = _asteroid_arcsec(candidate, values)
    if not moving:
        reference_arcsec = found["reference_distance_arcsec"] = values["reference_arcsec"]
        if reference_arcsec is not None and reference_arcsec <= REFERENCE_IS_SOURCE_ARCSEC:
            found["reference_mag"] = values["reference_mag"]
        ps1_arcsec = values["ps1_arcsec"]
        if ps1_arcsec is not None and ps1_arcsec <= SAME_SOURCE_ARCSEC:
            found |= {name: values[name] for name in PS1_COLUMNS}
    return {name: value for name, value in found.items() if value is not None}


def _with_schema(packet: Packet, provenance: Provenance) -> Provenance:
    version = text(packet, IDENTITY["schema_version"])
    return replace(provenance, schema=f"ztf {version}") if version else provenance
