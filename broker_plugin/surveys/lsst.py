# SPDX-License-Identifier: BSD-3-Clause
"""Alerts of the Rubin Observatory's LSST, schema 7.1 to 11.1.

What the fields mean is in the tables below; the rules that a table cannot hold are these.

Missing
    Null, NaN, 0 for an identifier, an absent field and an empty list all mean it, in one and the same packet.
    A forced difference flux of exactly 0 was not measured either: it comes with a normal `scienceFlux`.
Flux
    `psfFlux` is on the difference image. A band becomes apparent if each of its epochs has a `scienceFlux`,
    or a `templateFlux` to be added (its own, else the band's median); else all of the band is difference
    flux. In a galaxy and for a solar-system source, difference flux is the object's own.
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
from broker_plugin.records import Access, Alert, LightCurve, Origin, Provenance, QualityFlag, SourceContext
from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.context import TEMPLATE_SNR_MIN, lsst_context
from broker_plugin.surveys.drift import SchemaNeeds
from broker_plugin.surveys.epochs import UNKNOWN_BAND, light_curve_of
from broker_plugin.surveys.fields import (
    MISSING_INTEGER,
    Field,
    Kind,
    RecordTable,
    integer,
    number,
    read_columns,
    required_integer,
    required_number,
    rows_of,
    text,
)
from broker_plugin.surveys.photometry import FLUX_MAX_NJY, known_pair, mag_of_flux
from broker_plugin.surveys.sky import galactic_deg, separation_arcsec
from broker_plugin.taxonomy import passband_code
from broker_plugin.times import MJD_MAX, MJD_MIN

__all__ = ["FORCED", "SOURCE", "SOURCES", "LsstAdapter"]

BANDS = {band: passband_code(f"lsst_{band}") for band in "ugrizy"}


def _flux(
    name: str, path: str, *, sentinels: tuple[float, ...] = (), since: tuple[int, int] = (0, 0)
) -> Field:
    return Field(
        name=name,
        path=path,
        unit="nJy",
        low=-FLUX_MAX_NJY,
        high=FLUX_MAX_NJY,
        sentinels=sentinels,
        since=since,
    )


MJD = Field(name="mjd_tai", path="midpointMjdTai", unit="d", low=MJD_MIN, high=MJD_MAX, required=True)
RA = Field(name="ra_deg", path="ra", unit="deg", low=0.0, high=360.0, required=True)
DEC = Field(name="dec_deg", path="dec", unit="deg", low=-90.0, high=90.0, required=True)
SOURCE_ID = Field(name="source_id", path="diaSourceId", kind=Kind.INTEGER, low=1, required=True)
OBJECT_ID = Field(name="object_id", path="diaObjectId", kind=Kind.INTEGER, low=1)
SOLAR_SYSTEM_ID = Field(name="solar_system_id", path="ssObjectId", kind=Kind.INTEGER, low=1)
WITHDRAWN = Field(name="withdrawn_mjd_tai", path="timeWithdrawnMjdTai", unit="d", low=1e-9, since=(9, 0))
MEASUREMENT = (
    MJD,
    RA,
    DEC,
    WITHDRAWN,
    Field(name="band", path="band", kind=Kind.TEXT),
    Field(name="visit", path="visit", kind=Kind.INTEGER, low=1),
    Field(name="detector", path="detector", kind=Kind.INTEGER, high=10_000),
    _flux("difference_err_njy", "psfFluxErr"),
    _flux("total_njy", "scienceFlux", since=(8, 0)),
    _flux("total_err_njy", "scienceFluxErr", since=(8, 0)),
)

SOURCES = RecordTable(
    path="prvDiaSources",
    fields=(
        *MEASUREMENT,
        SOURCE_ID,
        _flux("difference_njy", "psfFlux"),
        _flux("reference_njy", "templateFlux", since=(8, 0)),
        _flux("reference_err_njy", "templateFluxErr", since=(8, 0)),
    ),
)
"""Earlier detections of the object."""

FORCED = RecordTable(
    path="prvDiaForcedSources",
    fields=(
        *MEASUREMENT,
        Field(name="source_id", path="diaForcedSourceId", kind=Kind.INTEGER, low=1),
        _flux("difference_njy", "psfFlux", sentinels=(0.0,)),
    ),
)
"""Forced photometry at the object's position."""

SOURCE = RecordTable(
    path="diaSource",
    fields=(
        *SOURCES.fields,
        OBJECT_ID,
        SOLAR_SYSTEM_ID,
        Field(name="reliability", path="reliability", low=0.0, high=1.0),
        Field(name="extendedness", path="extendedness", low=0.0, high=1.0),
    ),
)
"""The detection that triggered the alert."""

OBJECT_PATH = "diaObject"
SOLAR_SYSTEM_PATH = "ssSource"


class LsstAdapter:
    """Turns LSST packets into alerts."""

    name = "lsst"
    needs = SchemaNeeds(
        names=re.compile(r"lsst\.v\d+_\d+\.alert"), trigger=(SOURCE,), history=(SOURCES, FORCED)
    )
    histories: tuple[str, ...] = (SOURCES.path, FORCED.path)

    def recognises(self, packet: Packet) -> bool:
        """Tell whether a packet is an LSST alert."""
        return isinstance(packet.get(SOURCE.path), Mapping)

    def access_of(self, packet: Packet) -> frozenset[Access]:
        """Return every access class that occurs in a packet: all of them are public."""
        return frozenset({Access.PUBLIC})

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
    source = packet.get(SOURCE.path)
    if not isinstance(source, Mapping):
        raise RejectedAlert(RejectReason.MISSING_FIELD, "the packet has no diaSource record")
    if Access.PUBLIC not in access:
        raise RejectedAlert(RejectReason.ACCESS, "the sink is not declared for public alerts; declare it")
    source_id = required_integer(source, SOURCE_ID)
    ra_deg, dec_deg = required_number(source, RA), required_number(source, DEC)
    mjd_tai = required_number(source, MJD)
    values = {field.name: number(source, field) for field in SOURCE.fields if field.kind is Kind.NUMBER}
    object_id, moving = _object_id(packet, source, source_id)
    context = lsst_context(
        is_solar_system=moving,
        reliability=values["reliability"],
        extendedness=values["extendedness"],
        template_snr=_ratio(values["reference_njy"], values["reference_err_njy"]),
    )
    rows = _epoch_rows(
        [source, *([] if moving else rows_of(packet, SOURCES.path))],
        [] if moving else rows_of(packet, FORCED.path),
        centre=(ra_deg, dec_deg),
    )
    curve, flags = _light_curve(rows, mjd_tai, context)
    if rows.withdrawn[0]:
        flags.add(QualityFlag.WITHDRAWN)
    return Alert(
        survey=LsstAdapter.name,
        alert_id=source_id,
        object_id=object_id,
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        mjd_tai=mjd_tai,
        light_curve=curve,
        metadata=_metadata(values, ra_deg, dec_deg, moving=moving),
        source_context=context,
        flags=tuple(flag for flag in QualityFlag if flag in flags),
        provenance=_with_schema(packet, provenance),
        rows=None if moving or object_id == _own_id(source_id) else rows,
    )


def _light_curve(
    rows: EpochRows, mjd_tai: float, context: SourceContext
) -> tuple[LightCurve, set[QualityFlag]]:
    no_reference = context in (SourceContext.SOLAR_SYSTEM, SourceContext.GALAXY_HOST)
    return light_curve_of(
        rows, mjd_tai, apparent_bands=frozenset() if no_reference else frozenset(BANDS.values())
    )


def _object_id(packet: Packet, source: Mapping[str, Any], source_id: int) -> tuple[str, bool]:
    """Return the object's identity, and whether it is one of the solar system."""
    dia_object, solar_system = packet.get(OBJECT_PATH), packet.get(SOLAR_SYSTEM_PATH)
    number_of = integer(source, OBJECT_ID)
    if number_of is None and isinstance(dia_object, Mapping):
        number_of = integer(dia_object, OBJECT_ID)
    if number_of is not None:
        return f"lsst:{number_of}", False
    number_of = integer(source, SOLAR_SYSTEM_ID)
    if number_of is None and isinstance(solar_system, Mapping):
        number_of = integer(solar_system, SOLAR_SYSTEM_ID)
    if number_of is not None:
        return f"lsst:sso:{number_of}", True
    return _own_id(source_id), False


def _own_id(source_id: int) -> str:
    return f"lsst:src:{source_id}"


def _epoch_rows(
    sources: Sequence[Mapping[str, Any]],
    forced: Sequence[Mapping[str, Any]],
    *,
    centre: tuple[float, float],
) -> EpochRows:
    """Return the rows of all epochs, the alert's own first."""
    seen, looked = read_columns(sources, SOURCES), read_columns(forced, FORCED)
    n_seen, n = len(sources), len(sources) + len(forced)
    looked["reference_njy"] = looked["reference_err_njy"] = np.full(len(forced), np.nan)

    def both(name: str) -> NDArray[Any]:
        return np.concatenate([seen[name], looked[name]])

    difference, difference_err = known_pair(both("difference_njy"), both("difference_err_njy"))
    reference, reference_err = known_pair(both("reference_njy"), both("reference_err_njy"))
    total, total_err = known_pair(both("total_njy"), both("total_err_njy"))
    identifier = both("source_id")
    visit = both("visit")
    unknown_visit = visit == MISSING_INTEGER
    # Each its own, and the same in all packets if it has a number.
    visit[unknown_visit] = np.where(identifier > 0, ~identifier, ~(2**62 + np.arange(n)))[unknown_visit]
    return EpochRows(
        mjd_tai=both("mjd_tai"),
        band=np.array([_band_code(band) for band in (*seen["band"], *looked["band"])], np.int8),
        origin=np.repeat([Origin.DETECTION, Origin.FORCED], [n_seen, n - n_seen]).astype(np.int8),
        detector=both("detector").astype(np.int32),
        access=np.full(n, Access.PUBLIC, np.int8),
        exposure=visit,
        identifier=identifier,
        separation_arcsec=separation_arcsec(both("ra_deg"), both("dec_deg"), centre=centre),
        difference_njy=difference,
        difference_err_njy=difference_err,
        reference_njy=reference,
        reference_err_njy=reference_err,
        reference_arcsec=np.full(n, np.nan),
        total_njy=total,
        total_err_njy=total_err,
        withdrawn=~np.isnan(both("withdrawn_mjd_tai")),
        trigger=np.arange(n) == 0,
    )


def _band_code(band: str | None) -> int:
    return BANDS.get(band, UNKNOWN_BAND) if band is not None else UNKNOWN_BAND


def _ratio(flux: float | None, flux_err: float | None) -> float | None:
    return flux / flux_err if flux is not None and flux_err is not None and flux_err > 0 else None


def _metadata(
    values: Mapping[str, float | None], ra_deg: float, dec_deg: float, *, moving: bool
) -> dict[str, float]:
    longitude, latitude = galactic_deg(ra_deg, dec_deg)
    found: dict[str, float | None] = {"gal_lon_deg": longitude, "gal_lat_deg": latitude}
    found["reliability"] = values["reliability"]
    template, extendedness = values["reference_njy"], values["extendedness"]
    if not moving:
        template_snr = _ratio(template, values["reference_err_njy"])
        if template is not None and template_snr is not None and template_snr >= TEMPLATE_SNR_MIN:
            found["reference_mag"] = mag_of_flux(template)
        found["star_galaxy_score"] = 1.0 - extendedness if extendedness is not None else None
    return {name: value for name, value in found.items() if value is not None}


def _with_schema(packet: Packet, provenance: Provenance) -> Provenance:
    version = text(packet, Field(name="version", path="lsst_schema_version", kind=Kind.TEXT))
    return provenance if provenance.schema or not version else replace(provenance, schema=version)
