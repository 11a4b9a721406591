# SPDX-License-Identifier: BSD-3-Clause
"""The fields of a ZTF packet: where they are, in which unit, and how "missing" is spelt."""

from __future__ import annotations

from broker_plugin.surveys.fields import Field, Kind, RecordTable
from broker_plugin.surveys.photometry import MAG_MAX, MAG_MIN

__all__ = ["CANDIDATE", "DETECTIONS", "FORCED", "IDENTITY"]

NO_VALUE = (-999.0, -99.0, -99999.0)
"""Numbers that ZTF writes for "nothing there"."""

PIXEL_ARCSEC = 1.01
"""Side of a ZTF pixel. `distnr` is in pixels in detections but in arcsec in forced photometry."""

COUNTS_MAX = 1e10
"""More counts than any pixel well holds; keeps the conversion to flux finite."""

FAR_ARCSEC = 3600.0
"""A neighbour a degree away is none; also keeps float32 finite."""

JD = Field(name="jd_utc", path="jd", unit="d", low=0.0, high=1e7, required=True)
RA = Field(name="ra_deg", path="ra", unit="deg", low=0.0, high=360.0, sentinels=NO_VALUE, required=True)
DEC = Field(name="dec_deg", path="dec", unit="deg", low=-90.0, high=90.0, sentinels=NO_VALUE, required=True)
FILTER = Field(name="filter", path="fid", kind=Kind.INTEGER, required=True)
PROGRAMME = Field(name="programme", path="programid", kind=Kind.INTEGER)
CHANNEL = Field(name="channel", path="rcid", kind=Kind.INTEGER, high=63)
EXPOSURE = Field(
    name="exposure_s",
    path="exptime",
    unit="s",
    low=1e-3,
    high=3600.0,
    sentinels=NO_VALUE,
    expected=False,  # the history never has it
)
CANDID = Field(name="candid", path="candid", kind=Kind.INTEGER, low=1, required=True)
SIGN = Field(name="sign", path="isdiffpos", kind=Kind.ANY, required=True)
REFERENCE = (
    Field(name="reference_mag", path="magnr", unit="mag", low=MAG_MIN, high=MAG_MAX, sentinels=NO_VALUE),
    Field(name="reference_mag_err", path="sigmagnr", unit="mag", low=0.0, high=10.0, sentinels=NO_VALUE),
)
DETECTION = (
    JD,
    FILTER,
    PROGRAMME,
    CHANNEL,
    CANDID,
    SIGN,
    RA,
    DEC,
    EXPOSURE,
    Field(name="mag", path="magpsf", unit="mag", low=MAG_MIN, high=MAG_MAX, required=True),
    Field(name="mag_err", path="sigmapsf", unit="mag", low=0.0, high=10.0, required=True),
    Field(name="reference_arcsec", path="distnr", unit="pixel", scale=PIXEL_ARCSEC, low=0.0, high=FAR_ARCSEC),
    *REFERENCE,
)

DETECTIONS = RecordTable(
    path="prv_candidates",
    fields=(
        *DETECTION,
        Field(name="is_detection", path="candid", kind=Kind.PRESENCE),
        Field(
            name="limiting_mag",
            path="diffmaglim",
            unit="mag",
            low=MAG_MIN,
            high=MAG_MAX,
            sentinels=NO_VALUE,
            expected=False,  # no verdict rests on it
        ),
    ),
)
"""Earlier detections, mixed with upper limits."""

FORCED = RecordTable(
    path="fp_hists",
    since=(4, 0),
    fields=(
        JD,
        FILTER,
        PROGRAMME,
        CHANNEL,
        EXPOSURE,
        Field(
            name="counts",
            path="forcediffimflux",
            unit="DN",
            low=-COUNTS_MAX,
            high=COUNTS_MAX,
            sentinels=(-99999.0,),
        ),
        Field(name="counts_err", path="forcediffimfluxunc", unit="DN", low=0.0, high=COUNTS_MAX),
        Field(name="zero_point_mag", path="magzpsci", unit="mag", low=10.0, high=40.0),
        Field(name="status", path="procstatus", kind=Kind.TEXT),
        Field(name="reference_arcsec", path="distnr", unit="arcsec", low=0.0, high=FAR_ARCSEC),
        *REFERENCE,
    ),
)
"""Forced photometry at the object's position, since schema 4."""


def _catalogue_mag(name: str, path: str) -> Field:
    return Field(name=name, path=path, unit="mag", low=MAG_MIN, high=MAG_MAX, sentinels=NO_VALUE)


CANDIDATE = RecordTable(
    path="candidate",
    fields=(
        *DETECTION,
        Field(name="drb", path="drb", low=0.0, high=1.0, since=(3, 3)),
        Field(name="rb", path="rb", low=0.0, high=1.0),
        Field(name="star_galaxy_score", path="sgscore1", low=0.0, high=1.0),
        Field(name="ps1_arcsec", path="distpsnr1", unit="arcsec", low=0.0, high=FAR_ARCSEC),
        _catalogue_mag("ps1_g_mag", "sgmag1"),
        _catalogue_mag("ps1_r_mag", "srmag1"),
        _catalogue_mag("ps1_i_mag", "simag1"),
        _catalogue_mag("ps1_z_mag", "szmag1"),
        Field(name="asteroid_arcsec", path="ssdistnr", unit="arcsec", low=0.0, high=FAR_ARCSEC),
        Field(name="asteroid", path="ssnamenr", kind=Kind.TEXT),
    ),
)
"""The detection that triggered the alert, with its catalogue neighbours."""

IDENTITY = RecordTable(
    path="",
    fields=(
        CANDID,
        Field(name="object_name", path="objectId", kind=Kind.TEXT, required=True),
        Field(name="schema_version", path="schemavsn", kind=Kind.TEXT, since=(3, 0)),
    ),
)
"""What the packet says of itself, at its top."""
