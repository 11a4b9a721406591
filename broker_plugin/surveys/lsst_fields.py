# SPDX-License-Identifier: BSD-3-Clause
"""The fields of an LSST packet: where they are, in which unit, and how "missing" is spelt."""

from __future__ import annotations

from broker_plugin.surveys.fields import Field, Kind, RecordTable
from broker_plugin.surveys.photometry import FLUX_MAX_NJY
from broker_plugin.times import MJD_MAX, MJD_MIN

__all__ = [
    "DEC",
    "DIA_OBJECT",
    "FORCED",
    "MJD",
    "RA",
    "SOLAR_SYSTEM",
    "SOURCE",
    "SOURCES",
    "SOURCE_ID",
    "TOP",
]


def _flux(name: str, path: str, *, since: tuple[int, int] = (0, 0)) -> Field:
    return Field(name=name, path=path, unit="nJy", low=-FLUX_MAX_NJY, high=FLUX_MAX_NJY, since=since)


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
    _flux("difference_njy", "psfFlux"),
    _flux("difference_err_njy", "psfFluxErr"),
    _flux("total_njy", "scienceFlux", since=(8, 0)),
    _flux("total_err_njy", "scienceFluxErr", since=(8, 0)),
)

SOURCES = RecordTable(
    path="prvDiaSources",
    fields=(
        *MEASUREMENT,
        SOURCE_ID,
        _flux("reference_njy", "templateFlux", since=(8, 0)),
        _flux("reference_err_njy", "templateFluxErr", since=(8, 0)),
        Field(name="extendedness", path="extendedness", low=0.0, high=1.0),
    ),
)
"""Earlier detections of the object."""

FORCED = RecordTable(
    path="prvDiaForcedSources",
    fields=(
        *MEASUREMENT,
        Field(name="source_id", path="diaForcedSourceId", kind=Kind.INTEGER, low=1),
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
        Field(name="is_glint", path="glint_trail", kind=Kind.ANY, since=(8, 0)),
        Field(name="is_dipole", path="isDipole", kind=Kind.ANY, since=(8, 0)),
    ),
)
"""The detection that triggered the alert."""

TOP = RecordTable(path="", fields=(Field(name="version", path="lsst_schema_version", kind=Kind.TEXT),))
DIA_OBJECT = RecordTable(path="diaObject", fields=(OBJECT_ID,))
SOLAR_SYSTEM = RecordTable(path="ssSource", fields=(SOLAR_SYSTEM_ID,))
