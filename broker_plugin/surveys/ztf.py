# SPDX-License-Identifier: BSD-3-Clause
"""Alerts of the Zwicky Transient Facility, schema 3.0 to 4.02, with and without forced photometry.

What the fields mean is in the tables of `ztf_fields`; the rules that a table cannot hold are these.

Flux
    `magpsf` is the magnitude of the absolute difference and `isdiffpos` its sign. Where the source on the
    reference image is the object (median `distnr` of the band within 1.4 arcsec), the flux of `magnr` is
    added and the band is apparent. In a galaxy (`sgscore1` says so) the reference is the host, and near an
    asteroid it is someone else: there the band stays difference flux, as it does where no reference is known.
History
    Rows of `prv_candidates` without `candid` are upper limits, not epochs (`ztf_limits`). `objectId` stands
    for a position, so the history and the catalogue neighbours of a solar-system source are somebody else's
    and are left out.
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
from broker_plugin.records import Access, Origin, Provenance, SourceContext
from broker_plugin.surveys.adapted import AdaptedAlerts, lookup, optional, taken
from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.by_columns import ByColumns
from broker_plugin.surveys.columns import Columns, Layout, PacketColumns
from broker_plugin.surveys.context import REFERENCE_IS_SOURCE_ARCSEC, SAME_SOURCE_ARCSEC, ztf_context
from broker_plugin.surveys.drift import SchemaNeeds
from broker_plugin.surveys.epochs import N_BANDS, UNKNOWN_BAND, LightCurves, group_medians, light_curves_of
from broker_plugin.surveys.fields import (
    MISSING_INTEGER,
    RecordTable,
    integer,
    required_integer,
    required_number,
    required_text,
    rows_of,
)
from broker_plugin.surveys.photometry import flux_of_counts, flux_of_mag, known_pair
from broker_plugin.surveys.sky import galactic_deg, separation_arcsec
from broker_plugin.surveys.ztf_exposures import (
    BANDS,
    SAME_EXPOSURE_MS,
    band_codes,
    exposure_numbers,
    mid_exposure_mjd,
)
from broker_plugin.surveys.ztf_fields import CANDIDATE, DETECTIONS, FORCED, IDENTITY
from broker_plugin.surveys.ztf_limits import limits_of
from broker_plugin.times import possible_mjd, tai_mjd_of_utc_jd

__all__ = ["ZtfAdapter"]

USABLE_STATUS = frozenset({"0", "57"})
"""Processing codes of forced photometry that leave the flux sound: 0 is clean, and 57 only says that no
reference source is near. 56 warns of bad pixels under the source; 55 and 61 come without a flux."""

SIGNS: Mapping[str | int, float] = {"t": 1.0, "1": 1.0, 1: 1.0, "f": -1.0, "0": -1.0, 0: -1.0}
"""Spellings of `isdiffpos` (booleans are integers here). Any other leaves the sign, so the flux, unknown."""

PROGRAMMES = {1: Access.PUBLIC, 2: Access.PARTNERSHIP, 3: Access.CALTECH}

PS1_COLUMNS = ("star_galaxy_score", "ps1_g_mag", "ps1_r_mag", "ps1_i_mag", "ps1_z_mag")


class ZtfAdapter(ByColumns):
    """Turns ZTF packets into alerts."""

    name = "ztf"
    needs = SchemaNeeds(
        names=re.compile(r"ztf\.alert"), trigger=(IDENTITY, CANDIDATE), history=(DETECTIONS, FORCED)
    )
    histories: tuple[str, ...] = (DETECTIONS.path, FORCED.path)
    marks: tuple[str, ...] = ("objectId", CANDIDATE.path)
    layout = Layout(heads=(IDENTITY, CANDIDATE), rows=(DETECTIONS, FORCED))

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

    def check(self, packet: Packet, access: frozenset[Access]) -> None:
        """Reject a packet that cannot become an alert: where `_fit` is False, this says why."""
        candidate = packet.get(CANDIDATE.path)
        if not isinstance(candidate, Mapping):
            raise RejectedAlert(RejectReason.MISSING_FIELD, "the packet has no candidate record")
        if _access(candidate) not in access:
            raise RejectedAlert(
                RejectReason.ACCESS,
                "the sink is not declared for the programme that took this alert; declare it or leave it out",
            )
        # Older packets of brokers name the alert only at the top.
        if integer(candidate, CANDIDATE["candid"]) is None:
            required_integer(packet, IDENTITY["candid"])
        required_text(packet, IDENTITY["object_name"])
        for name in ("ra_deg", "dec_deg", "mag", "mag_err"):
            required_number(candidate, CANDIDATE[name])
        if required_integer(candidate, CANDIDATE["filter"]) not in BANDS:
            raise RejectedAlert(RejectReason.INVALID_VALUE, "fid is none of ZTF's filters")
        if np.isnan(_sign(candidate.get(CANDIDATE["sign"].path))):
            raise RejectedAlert(RejectReason.INVALID_VALUE, "isdiffpos is in none of its four spellings")
        jd = np.array([required_number(candidate, CANDIDATE["jd_utc"])])
        if not possible_mjd(tai_mjd_of_utc_jd(jd, np.zeros(1))).all():
            raise RejectedAlert(RejectReason.INVALID_VALUE, "jd is not between 1990 and 2100")

    def adapt_columns(
        self, columns: PacketColumns, *, access: frozenset[Access], provenance: Sequence[Provenance]
    ) -> AdaptedAlerts:
        """Return the alerts of those packets of which `adapt` would return one."""
        return _adapted(columns, access, provenance)

    def light_curves(
        self,
        rows: EpochRows,
        alert: NDArray[np.int64],
        mjd_tai: NDArray[np.float64],
        contexts: Sequence[SourceContext],
    ) -> LightCurves:
        """Return the light curves of alerts, each up to its own time."""
        return _light_curves(rows, alert, mjd_tai, contexts)


def _fit(top: Columns, candidate: Columns, access: frozenset[Access]) -> NDArray[np.bool_]:
    """Return which packets can become alerts."""
    known = [candidate[name] for name in ("ra_deg", "dec_deg", "mag", "mag_err", "jd_utc")]
    return np.asarray(
        _visible(candidate, access)
        & ((candidate["candid"] != MISSING_INTEGER) | (top["candid"] != MISSING_INTEGER))
        & top["object_name"].known
        & ~np.isnan(known).any(axis=0)
        & (band_codes(candidate) != UNKNOWN_BAND)
        & ~np.isnan(candidate["sign"].map(_sign, np.float64))
        & possible_mjd(tai_mjd_of_utc_jd(candidate["jd_utc"], np.zeros(len(top["candid"]))))
    )


def _adapted(
    columns: PacketColumns, access: frozenset[Access], provenance: Sequence[Provenance]
) -> AdaptedAlerts:
    packets = np.flatnonzero(_fit(columns.heads[IDENTITY.path], columns.heads[CANDIDATE.path], access))
    top = taken(columns.heads[IDENTITY.path], packets)
    candidate = taken(columns.heads[CANDIDATE.path], packets)
    n = len(packets)
    alert_of = np.full(columns.n, -1)
    alert_of[packets] = np.arange(n)

    def visible(table: RecordTable) -> tuple[Columns, NDArray[np.int64]]:
        alert, rows = alert_of[columns.packet_of[table.path]], columns.rows[table.path]
        kept = (alert >= 0) & _visible(rows, access)
        return taken(rows, kept), alert[kept]

    before, of = visible(DETECTIONS)
    is_detection = before["is_detection"]
    detections, detected = taken(before, is_detection), of[is_detection]
    forced, looked = visible(FORCED)
    asteroid_arcsec = np.where(candidate["asteroid"].known, candidate["asteroid_arcsec"], np.nan)
    contexts = _contexts(candidate, asteroid_arcsec, seen_before=np.bincount(detected, minlength=n) > 0)
    moving = np.array([context is SourceContext.SOLAR_SYSTEM for context in contexts], np.bool_)
    detections, detected = taken(detections, ~moving[detected]), detected[~moving[detected]]
    forced, looked = taken(forced, ~moving[looked]), looked[~moving[looked]]
    rows, alert = _epoch_rows(candidate, (detections, detected), (forced, looked))
    mjd_tai = rows.mjd_tai[:n]
    is_missed = ~is_detection & ~moving[of]
    limits, limit_alert = limits_of(taken(before, is_missed), of[is_missed], mjd_tai, rows, alert)
    candid = np.where(candidate["candid"] != MISSING_INTEGER, candidate["candid"], top["candid"])
    versions = top["schema_version"].map(lambda version: f"ztf {version}" if version else "", object).tolist()
    return AdaptedAlerts(
        survey=ZtfAdapter.name,
        packet=packets,
        alert_id=np.asarray(candid),
        object_id=[f"ztf:{name}" for name in top["object_name"].tolist()],
        ra_deg=candidate["ra_deg"],
        dec_deg=candidate["dec_deg"],
        mjd_tai=mjd_tai,
        curves=_light_curves(rows, alert, mjd_tai, contexts),
        metadata=_metadata(candidate, asteroid_arcsec, moving=moving),
        source_context=contexts,
        provenance=[
            replace(provenance[packet], schema=version) if version else provenance[packet]
            for packet, version in zip(packets.tolist(), versions, strict=True)
        ],
        rows=rows,
        row_alert=alert,
        has_history=~moving,
        limits=limits,
        limit_alert=limit_alert,
    )


def _visible(rows: Columns, access: frozenset[Access]) -> NDArray[np.bool_]:
    return np.isin(_access_codes(rows), [int(each) for each in access])


def _access_codes(rows: Columns) -> NDArray[np.int8]:
    return lookup(rows["programme"], PROGRAMMES, Access.PRIVATE)


def _access(record: Mapping[str, Any]) -> Access:
    programme = record.get(CANDIDATE["programme"].path)
    return PROGRAMMES.get(programme, Access.PRIVATE) if type(programme) is int else Access.PRIVATE


def _sign(value: object) -> float:
    return SIGNS.get(value, np.nan) if isinstance(value, (str, int)) else np.nan


def _epoch_rows(
    candidate: Columns,
    detections: tuple[Columns, NDArray[np.int64]],
    forced: tuple[Columns, NDArray[np.int64]],
) -> tuple[EpochRows, NDArray[np.int64]]:
    """Return the rows of all epochs, the alerts' own first, and the alert of each."""
    looked = forced[0]
    n_alerts, n_looked = len(candidate["candid"]), len(forced[1])
    n_seen = n_alerts + len(detections[1])
    n = n_seen + n_looked
    alert = np.concatenate([np.arange(n_alerts), detections[1], forced[1]])

    def seen(name: str) -> NDArray[Any]:
        return np.concatenate([candidate[name], detections[0][name]])

    def both(name: str) -> NDArray[Any]:
        return np.concatenate([candidate[name], detections[0][name], looked[name]])

    signs = np.concatenate([part["sign"].map(_sign, np.float64) for part in (candidate, detections[0])])
    seen_flux, seen_err = flux_of_mag(seen("mag"), seen("mag_err"))
    sound = looked["status"].map(_is_usable, np.bool_)
    looked_flux = np.where(sound, flux_of_counts(looked["counts"], looked["zero_point_mag"]), np.nan)
    looked_err = flux_of_counts(looked["counts_err"], looked["zero_point_mag"])
    difference, difference_err = known_pair(
        np.concatenate([signs * seen_flux, looked_flux]), np.concatenate([seen_err, looked_err])
    )
    reference, reference_err = known_pair(*flux_of_mag(both("reference_mag"), both("reference_mag_err")))
    jd = both("jd_utc")
    band = np.concatenate([band_codes(candidate), band_codes(detections[0]), band_codes(looked)])
    missing = np.full(n, np.nan)
    separation, identifier = missing.copy(), np.zeros(n, np.int64)
    centre = (candidate["ra_deg"][alert[:n_seen]], candidate["dec_deg"][alert[:n_seen]])
    separation[:n_seen] = separation_arcsec(seen("ra_deg"), seen("dec_deg"), centre=centre)
    identifier[:n_seen] = seen("candid")
    return EpochRows(
        mjd_tai=mid_exposure_mjd(jd, both("exposure_s")),
        band=band,
        origin=np.repeat([Origin.DETECTION, Origin.FORCED], [n_seen, n_looked]).astype(np.int8),
        detector=both("channel").astype(np.int32),
        access=np.concatenate([_access_codes(part) for part in (candidate, detections[0], looked)]),
        exposure=exposure_numbers(jd),
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
        trigger=np.arange(n) < n_alerts,
    ), alert


def _is_usable(status: str | None) -> bool:
    return status is not None and {code.strip() for code in status.split(",")} <= USABLE_STATUS


def _light_curves(
    rows: EpochRows,
    alert: NDArray[np.int64],
    mjd_tai: NDArray[np.float64],
    contexts: Sequence[SourceContext],
) -> LightCurves:
    no_reference = [
        context in (SourceContext.SOLAR_SYSTEM, SourceContext.GALAXY_HOST) for context in contexts
    ]
    own_reference = ~np.array(no_reference, np.bool_)[alert] & _is_own_band(rows, alert)
    return light_curves_of(rows, alert, mjd_tai, own_reference=own_reference, same_exposure=SAME_EXPOSURE_MS)


def _is_own_band(rows: EpochRows, alert: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for every row whether the source on the reference image of its band is the object."""
    keys, group = np.unique(alert * N_BANDS + rows.band, return_inverse=True)
    medians = group_medians(rows.reference_arcsec, group, len(keys))
    return np.asarray((medians <= REFERENCE_IS_SOURCE_ARCSEC)[group])


def _contexts(
    candidate: Columns, asteroid_arcsec: NDArray[np.float64], *, seen_before: NDArray[np.bool_]
) -> list[SourceContext]:
    columns = (
        optional(asteroid_arcsec),
        optional(candidate["reference_arcsec"]),
        (candidate["reference_mag"] <= candidate["mag"]).tolist(),
        optional(candidate["drb"]),
        optional(candidate["rb"]),
        optional(candidate["star_galaxy_score"]),
        optional(candidate["ps1_arcsec"]),
        seen_before.tolist(),
    )
    return [
        ztf_context(
            asteroid_arcsec=asteroid,
            reference_arcsec=reference,
            reference_brighter=brighter,
            drb=drb,
            rb=rb,
            star_score=score,
            ps1_arcsec=ps1,
            seen_before=before,
        )
        for asteroid, reference, brighter, drb, rb, score, ps1, before in zip(*columns, strict=True)
    ]


def _metadata(
    candidate: Columns, asteroid_arcsec: NDArray[np.float64], *, moving: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    longitude, latitude = galactic_deg(candidate["ra_deg"], candidate["dec_deg"])
    drb, reference_arcsec = candidate["drb"], candidate["reference_arcsec"]

    def where(condition: NDArray[np.bool_], values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(condition & ~moving, values, np.nan)

    own_reference = reference_arcsec <= REFERENCE_IS_SOURCE_ARCSEC
    own_entry = candidate["ps1_arcsec"] <= SAME_SOURCE_ARCSEC
    found: dict[str, NDArray[np.float64]] = {
        "gal_lon_deg": longitude,
        "gal_lat_deg": latitude,
        "reliability": np.asarray(np.where(np.isnan(drb), candidate["rb"], drb)),
        "solar_system_distance_arcsec": asteroid_arcsec,
        "reference_distance_arcsec": where(~moving, reference_arcsec),
        "reference_mag": where(own_reference, candidate["reference_mag"]),
    }
    return found | {name: where(own_entry, candidate[name]) for name in PS1_COLUMNS}
