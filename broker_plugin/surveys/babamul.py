# SPDX-License-Identifier: BSD-3-Clause
"""Alerts of ZTF and LSST as Babamul, the public stream of BOOM, sends them on.

The alert's own detection comes with the survey's fields, the history as short rows that are the same for both
surveys: time, difference flux, band, position. There are neither scores nor cutouts. After BOOM's source
(`src/enrichment/babamul.rs`, `lsst.rs`, `ztf.rs`, 2026):

Time
    `jd` is UTC; of LSST the middle of the exposure, of ZTF its start.
Flux
    LSST's is in nJy. ZTF's is called so too but has the zero point 23.9 after a division by 1e9.
History
    It is all that BOOM knows of the object, the alert's own detection and later ones included.
Exposure
    Rows name neither exposure nor detector; those of equal time are of one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from broker_plugin.surveys import lsst_fields, ztf_fields
from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.fields import Field, number, rows_of
from broker_plugin.surveys.packets import Row, lsst_packet, ztf_packet
from broker_plugin.times import SECONDS_PER_DAY, tai_mjd_of_utc_jd

__all__ = ["HISTORIES", "MARKS", "NAMES", "is_lsst", "is_ztf", "lsst_of", "ztf_of"]

NAMES = re.compile(r"(?:[\w.]+\.)?(?:Enriched|Babamul)(?:Ztf|Lsst)Alert")
"""Full names of its schemas, which BOOM derives from the names of its types."""

CANDIDATE, HISTORY, FORCED = "candidate", "prv_candidates", "fp_hists"

HISTORIES = (HISTORY, FORCED)
MARKS = (CANDIDATE, HISTORY, FORCED, "survey_matches")

SAME_TIME_DAY = 1e-5
"""Times nearer than this (0.9 s) are of one exposure; two exposures are 30 s apart at the least."""

ZTF_FIDS = {"g": 1, "r": 2, "i": 3}

ZTF_UNIT, ZTF_ZERO_POINT_MAG = 1e-9, 23.9
"""What undoes BOOM's multiplication of ZTF's flux, and the zero point that it then has."""

FLUX = Field(name="flux", path="psfFlux", unit="nJy or fJy")
FLUX_ERR = Field(name="flux_err", path="psfFluxErr", unit="nJy or fJy")


def is_ztf(packet: Packet) -> bool:
    """Tell whether a packet is Babamul's of a ZTF alert: ZTF's own candidates hold no flux."""
    candidate = packet.get(CANDIDATE)
    return isinstance(candidate, Mapping) and {"psfFlux", "fid"} <= candidate.keys()


def is_lsst(packet: Packet) -> bool:
    """Tell whether a packet is Babamul's of an LSST alert."""
    candidate = packet.get(CANDIDATE)
    return isinstance(candidate, Mapping) and lsst_fields.SOURCE_ID.path in candidate


def lsst_of(packet: Packet) -> Packet:
    """Return the LSST packet of one of Babamul's."""
    own: Row = packet[CANDIDATE]
    source = {name: value for name, value in own.items() if name != "detector"} | _visit(own)
    return lsst_packet(
        source,
        previous=[_lsst_row(row) for row in _history(packet)],
        forced=[_lsst_row(row) for row in rows_of(packet, FORCED)],
    )


def ztf_of(packet: Packet) -> Packet:
    """Return the ZTF packet of one of Babamul's."""
    own: Row = packet[CANDIDATE]
    return ztf_packet(
        str(packet.get("objectId")),
        {name: value for name, value in own.items() if name != ztf_fields.CHANNEL.path},
        previous=[_ztf_detection(row) for row in _history(packet)],
        forced=[_ztf_forced(row) for row in rows_of(packet, FORCED)],
    )


def _history(packet: Packet) -> list[Row]:
    """Return the detections before the alert's own."""
    end = _jd(packet[CANDIDATE]) - SAME_TIME_DAY
    return [row for row in rows_of(packet, HISTORY) if _jd(row) < end]


def _jd(row: Row) -> float:
    jd = number(row, ztf_fields.JD)
    return np.nan if jd is None else jd


def _visit(row: Row) -> dict[str, int]:
    """Return a number in place of the visit, equal for rows of equal time."""
    jd = _jd(row)
    return {} if np.isnan(jd) else {"visit": round(jd * SECONDS_PER_DAY * 1000.0)}


def _lsst_row(row: Row) -> dict[str, Any]:
    mjd_tai = tai_mjd_of_utc_jd(np.array([_jd(row)]), np.zeros(1))
    return {**row, **_visit(row), lsst_fields.MJD.path: float(mjd_tai[0])}


def _ztf_detection(row: Row) -> dict[str, Any]:
    flux = number(row, FLUX)
    return {
        **row,
        "fid": ZTF_FIDS.get(str(row.get("band"))),
        "isdiffpos": None if flux is None else flux > 0,
        "candid": round(_jd(row) * SECONDS_PER_DAY),  # any number: a row without one is an upper limit
    }


def _ztf_forced(row: Row) -> dict[str, Any]:
    flux, flux_err = number(row, FLUX), number(row, FLUX_ERR)
    return {
        "jd": row.get("jd"),
        "fid": ZTF_FIDS.get(str(row.get("band"))),
        "programid": row.get("programid"),
        "forcediffimflux": None if flux is None else flux * ZTF_UNIT,
        "forcediffimfluxunc": None if flux_err is None else flux_err * ZTF_UNIT,
        "magzpsci": ZTF_ZERO_POINT_MAG,
        "procstatus": "0",  # BOOM sends on no others
    }
