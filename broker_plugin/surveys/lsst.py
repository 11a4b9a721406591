# SPDX-License-Identifier: BSD-3-Clause
"""Alerts of the Rubin Observatory's LSST, schema 7.1 to 11.1.

What the fields mean is in the tables of `lsst_fields`; the rules that a table cannot hold are these.

Missing
    Null, NaN, 0 for an identifier, an absent field and an empty list all mean it, in one and the same packet.
Saturation
    Forced photometry has no flags. In the masked core of a saturated star both fluxes are worthless, and the
    only sign of it is a `psfFlux` of almost exactly 0 beside an ordinary error.
Flux
    `psfFlux` is on the difference image. A band becomes apparent if each of its epochs has a `scienceFlux`,
    or a `templateFlux` to be added (its own, else the band's median); else all of the band is difference
    flux. For a solar-system source difference flux is the object's own. It would be for a transient too, but
    no packet says that there is a host (`context`): its flux is apparent and holds the host's.
Place
    A detection is measured at its own centroid, which scatters: 0.15 arcsec cost 1 % of the flux, 0.3 cost
    5 %. Forced photometry is measured at the object's place. So a visit that has both is a detection with the
    forced flux (its own where that would cost it a kind of flux), and neighbouring epochs agree better by a
    third. Where the object's place lies between two blended sources (3 of 48 objects with long histories),
    they agree worse.
Identity
    Without a `diaObject` an alert belongs to its solar-system object, and without that to itself. A
    solar-system object has no history here: what was once at its place is not it.
Withdrawn
    Rows of the history that were withdrawn are left out; a withdrawn alert stays one, with a flag.
Access
    All of Rubin's alerts are public.
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
from broker_plugin.records import Access, Origin, Provenance, QualityFlag, SourceContext
from broker_plugin.surveys.adapted import AdaptedAlerts, optional, taken
from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.by_columns import ByColumns
from broker_plugin.surveys.columns import Columns, Layout, PacketColumns
from broker_plugin.surveys.context import SEEN_BEFORE_DAY, TEMPLATE_SNR_MIN, lsst_context
from broker_plugin.surveys.drift import SchemaNeeds
from broker_plugin.surveys.epochs import UNKNOWN_BAND, LightCurves, group_medians, light_curves_of
from broker_plugin.surveys.fields import (
    MISSING_INTEGER,
    RecordTable,
    required_integer,
    required_number,
)
from broker_plugin.surveys.lsst_fields import (
    DEC,
    DIA_OBJECT,
    FORCED,
    MJD,
    RA,
    SOLAR_SYSTEM,
    SOURCE,
    SOURCE_ID,
    SOURCES,
    TOP,
)
from broker_plugin.surveys.photometry import known_pair, mag_of_flux
from broker_plugin.surveys.sky import galactic_deg, separation_arcsec
from broker_plugin.taxonomy import passband_code

__all__ = ["LsstAdapter"]

MASKED_CORE_SNR_MAX = 0.01
"""A forced difference flux below so much of its error was measured in a masked core. Of 41,089 forced points
on the sky 4,428 lie below, nearly all of six bright stars; their `scienceFlux` scatters by 20 to 60 %, that
of others by 1 %. Beyond 0.01 their excess ends; larger, and more of the sound points near 0 go, of which this
takes 0.8 %."""

BANDS = {band: passband_code(f"lsst_{band}") for band in "ugrizy"}


class LsstAdapter(ByColumns):
    """Turns LSST packets into alerts."""

    name = "lsst"
    needs = SchemaNeeds(
        names=re.compile(r"lsst\.v\d+_\d+\.alert"), trigger=(SOURCE,), history=(SOURCES, FORCED)
    )
    histories: tuple[str, ...] = (SOURCES.path, FORCED.path)
    marks: tuple[str, ...] = (SOURCE.path,)
    layout = Layout(heads=(TOP, SOURCE, DIA_OBJECT, SOLAR_SYSTEM), rows=(SOURCES, FORCED))

    def recognises(self, packet: Packet) -> bool:
        """Tell whether a packet is an LSST alert."""
        return isinstance(packet.get(SOURCE.path), Mapping)

    def access_of(self, packet: Packet) -> frozenset[Access]:
        """Return every access class that occurs in a packet: all of them are public."""
        return frozenset({Access.PUBLIC})

    def check(self, packet: Packet, access: frozenset[Access]) -> None:
        """Reject a packet that cannot become an alert: where `_fit` is False, this says why."""
        source = packet.get(SOURCE.path)
        if not isinstance(source, Mapping):
            raise RejectedAlert(RejectReason.MISSING_FIELD, "the packet has no diaSource record")
        if Access.PUBLIC not in access:
            raise RejectedAlert(RejectReason.ACCESS, "the sink is not declared for public alerts; declare it")
        required_integer(source, SOURCE_ID)
        for entry in (RA, DEC, MJD):
            required_number(source, entry)

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


def _fit(source: Columns, access: frozenset[Access]) -> NDArray[np.bool_]:
    """Return which packets can become alerts."""
    known = ~np.isnan([source[name] for name in ("ra_deg", "dec_deg", "mjd_tai")]).any(axis=0)
    return np.asarray(known & (source["source_id"] != MISSING_INTEGER) & (Access.PUBLIC in access))


def _adapted(
    columns: PacketColumns, access: frozenset[Access], provenance: Sequence[Provenance]
) -> AdaptedAlerts:
    packets = np.flatnonzero(_fit(columns.heads[SOURCE.path], access))
    source = taken(columns.heads[SOURCE.path], packets)
    n = len(packets)
    object_id, is_of_object, moving = _object_ids(columns, packets)
    template_snr = _ratio(source["reference_njy"], source["reference_err_njy"])
    alert_of = np.full(columns.n, -1)
    alert_of[packets] = np.where(moving, -1, np.arange(n))

    def rows_of_others(table: RecordTable) -> tuple[Columns, NDArray[np.int64]]:
        alert = alert_of[columns.packet_of[table.path]]
        return taken(columns.rows[table.path], alert >= 0), alert[alert >= 0]

    history = rows_of_others(SOURCES)
    contexts = _contexts(source, history, template_snr, moving)
    rows, alert = _epoch_rows(source, history, rows_of_others(FORCED))
    curves = _light_curves(rows, alert, source["mjd_tai"], contexts)
    curves.flags[QualityFlag.WITHDRAWN] = rows.withdrawn[:n]
    versions = columns.heads[TOP.path]["version"][packets].tolist()
    return AdaptedAlerts(
        survey=LsstAdapter.name,
        packet=packets,
        alert_id=source["source_id"],
        object_id=object_id,
        ra_deg=source["ra_deg"],
        dec_deg=source["dec_deg"],
        mjd_tai=source["mjd_tai"],
        curves=curves,
        metadata=_metadata(source, template_snr, moving),
        source_context=contexts,
        provenance=[
            _with_schema(provenance[packet], version)
            for packet, version in zip(packets.tolist(), versions, strict=True)
        ],
        rows=rows,
        row_alert=alert,
        has_history=is_of_object,
    )


def _object_ids(
    columns: PacketColumns, packets: NDArray[np.intp]
) -> tuple[list[str], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the objects' identities, which are objects beyond it, and which are of the solar system."""
    source = columns.heads[SOURCE.path]

    def first_known(name: str, other: RecordTable) -> NDArray[np.int64]:
        own = source[name]
        return np.where(own != MISSING_INTEGER, own, columns.heads[other.path][name])[packets]

    dia_object = first_known("object_id", DIA_OBJECT)
    solar_system = first_known("solar_system_id", SOLAR_SYSTEM)
    has_object = dia_object != MISSING_INTEGER
    moving = ~has_object & (solar_system != MISSING_INTEGER)
    number = np.where(has_object, dia_object, np.where(moving, solar_system, source["source_id"][packets]))
    prefix = np.where(has_object, "lsst:", np.where(moving, "lsst:sso:", "lsst:src:"))
    names = [f"{kind}{value}" for kind, value in zip(prefix.tolist(), number.tolist(), strict=True)]
    return names, has_object, moving


def _epoch_rows(
    source: Columns,
    history: tuple[Columns, NDArray[np.int64]],
    forced: tuple[Columns, NDArray[np.int64]],
) -> tuple[EpochRows, NDArray[np.int64]]:
    """Return the rows of all epochs, the alerts' own first, and the alert of each."""
    n_alerts, n_looked = len(source["source_id"]), len(forced[1])
    n_seen = n_alerts + len(history[1])
    n = n_seen + n_looked
    alert = np.concatenate([np.arange(n_alerts), history[1], forced[1]])
    no_reference = np.full(n_looked, np.nan)
    looked = {**forced[0], "reference_njy": no_reference, "reference_err_njy": no_reference}

    def every(name: str) -> NDArray[Any]:
        return np.concatenate([source[name], history[0][name], looked[name]])

    difference, difference_err = known_pair(every("difference_njy"), every("difference_err_njy"))
    reference, reference_err = known_pair(every("reference_njy"), every("reference_err_njy"))
    total, total_err = known_pair(every("total_njy"), every("total_err_njy"))
    identifier, visit = every("source_id"), every("visit")
    unknown_visit = visit == MISSING_INTEGER
    # Each its own, and the same in all packets if it has a number.
    own = np.where(identifier > 0, ~identifier, ~(2**62 + _place_in_alert(alert)))
    visit[unknown_visit] = own[unknown_visit]
    centre = (source["ra_deg"][alert], source["dec_deg"][alert])
    return EpochRows(
        mjd_tai=every("mjd_tai"),
        band=np.concatenate([part["band"].map(_band_code, np.int8) for part in (source, history[0], looked)]),
        origin=np.repeat([Origin.DETECTION, Origin.FORCED], [n_seen, n_looked]).astype(np.int8),
        detector=every("detector").astype(np.int32),
        access=np.full(n, Access.PUBLIC, np.int8),
        exposure=visit,
        identifier=identifier,
        separation_arcsec=separation_arcsec(every("ra_deg"), every("dec_deg"), centre=centre),
        difference_njy=difference,
        difference_err_njy=difference_err,
        reference_njy=reference,
        reference_err_njy=reference_err,
        reference_arcsec=np.full(n, np.nan),
        total_njy=total,
        total_err_njy=total_err,
        withdrawn=~np.isnan(every("withdrawn_mjd_tai")),
        trigger=np.arange(n) < n_alerts,
    ), alert


def _light_curves(
    rows: EpochRows,
    alert: NDArray[np.int64],
    mjd_tai: NDArray[np.float64],
    contexts: Sequence[SourceContext],
) -> LightCurves:
    stays = np.array([context is not SourceContext.SOLAR_SYSTEM for context in contexts], np.bool_)
    measured = _without_masked_cores(rows)
    return light_curves_of(measured, alert, mjd_tai, own_reference=stays[alert], forced_flux_first=True)


def _without_masked_cores(rows: EpochRows) -> EpochRows:
    """Return rows, stored ones among them, that have no flux where forced photometry met a masked core."""
    near_zero = np.abs(rows.difference_njy) < MASKED_CORE_SNR_MAX * rows.difference_err_njy
    masked = near_zero & (rows.origin == Origin.FORCED)
    return replace(
        rows,
        difference_njy=np.where(masked, np.nan, rows.difference_njy),
        total_njy=np.where(masked, np.nan, rows.total_njy),
    )


def _place_in_alert(alert: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each row among the rows of its alert."""
    order = np.argsort(alert, kind="stable")
    counts = np.bincount(alert)
    place = np.empty(len(alert), np.int64)
    place[order] = np.arange(len(alert)) - np.repeat(np.cumsum(counts) - counts, counts)
    return place


def _band_code(band: str | None) -> int:
    return BANDS.get(band, UNKNOWN_BAND) if band is not None else UNKNOWN_BAND


def _ratio(flux: NDArray[np.float64], flux_err: NDArray[np.float64]) -> NDArray[np.float64]:
    return flux / np.where(flux_err > 0, flux_err, np.nan)


def _contexts(
    source: Columns,
    history: tuple[Columns, NDArray[np.int64]],
    template_snr: NDArray[np.float64],
    moving: NDArray[np.bool_],
) -> list[SourceContext]:
    n = len(moving)
    rows, alert = history
    is_before = np.isnan(rows["withdrawn_mjd_tai"])
    is_before &= rows["mjd_tai"] <= source["mjd_tai"][alert] - SEEN_BEFORE_DAY
    alert = alert[is_before]
    extendedness = group_medians(
        np.concatenate([source["extendedness"], rows["extendedness"][is_before]]),
        np.concatenate([np.arange(n), alert]),
        n,
    )
    columns = (
        moving.tolist(),
        source["is_glint"].map(_is_set, np.bool_).tolist(),
        source["is_dipole"].map(_is_set, np.bool_).tolist(),
        optional(source["reliability"]),
        (np.bincount(alert, minlength=n) > 0).tolist(),
        optional(extendedness),
        optional(template_snr),
    )
    return [
        lsst_context(
            is_solar_system=sso,
            is_glint=glint,
            is_dipole=dipole,
            reliability=reliability,
            seen_before=before,
            extendedness=extended,
            template_snr=snr,
        )
        for sso, glint, dipole, reliability, before, extended, snr in zip(*columns, strict=True)
    ]


def _is_set(mark: str | int | None) -> bool:
    """Tell whether a mark is true; booleans are integers here."""
    return mark == 1


def _metadata(
    source: Columns, template_snr: NDArray[np.float64], moving: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    longitude, latitude = galactic_deg(source["ra_deg"], source["dec_deg"])
    has_template = ~moving & (template_snr >= TEMPLATE_SNR_MIN)
    return {
        "gal_lon_deg": longitude,
        "gal_lat_deg": latitude,
        "reliability": source["reliability"],
        "reference_mag": np.where(has_template, mag_of_flux(source["reference_njy"]), np.nan),
    }


def _with_schema(provenance: Provenance, version: str | None) -> Provenance:
    return provenance if provenance.schema or not version else replace(provenance, schema=version)
