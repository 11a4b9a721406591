# SPDX-License-Identifier: BSD-3-Clause
"""Real packets in the forms in which other brokers send them on, written after those brokers' sources."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import erfa
import fastavro

from broker_plugin.surveys import alerce
from broker_plugin.surveys.base import Packet

__all__ = ["alerce_lsst", "babamul_lsst", "babamul_ztf", "container", "lsst_as_sent_on", "ztf_as_sent_on"]

ZTF_BANDS = {1: "g", 2: "r", 3: "i"}
MJD_ZERO = 2_400_000.5

RADIUS = {"rock": False, "star": False, "stationary": False, "near_brightstar": False}
PHOTSTATS: dict[str, None] = dict.fromkeys("grizyu")


def babamul_lsst(packet: Packet) -> dict[str, Any]:
    """Return an LSST packet as Babamul sends it on."""
    source = packet["diaSource"]
    rows = [_boom_row(row) for row in (*_rows(packet, "prvDiaSources"), source)]
    candidate = {
        **source,
        "objectId": str(source["diaObjectId"] or f"sso{source['ssObjectId']}"),
        "jd": jd_utc(source["midpointMjdTai"]),
        "magpsf": 20.0,
        "sigmapsf": 0.1,
        "diffmaglim": 24.0,
        "isdiffpos": (source["psfFlux"] or 0.0) > 0,
        "magap": 20.0,
        "snr": source["snr"] or 0.0,
    }
    return {
        "candid": source["diaSourceId"],
        "objectId": candidate["objectId"],
        "candidate": candidate,
        "prv_candidates": rows,
        "fp_hists": [_boom_row(row) for row in _rows(packet, "prvDiaForcedSources")],
        "properties": RADIUS | {"photstats": PHOTSTATS, "multisurvey_photstats": PHOTSTATS},
        "survey_matches": None,
    }


def jd_utc(mjd_tai: float) -> float:
    """Return a Julian Date in UTC, as one number."""
    days, fraction, _ = erfa.ufunc.taiutc(MJD_ZERO, mjd_tai)
    return float(days) + float(fraction)


def _boom_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "jd": jd_utc(row["midpointMjdTai"]),
        "psfFlux": row["psfFlux"],
        "psfFluxErr": row["psfFluxErr"],
        "band": row["band"],
        "ra": row["ra"],
        "dec": row["dec"],
    }


def lsst_as_sent_on(packet: Packet) -> dict[str, Any]:
    """Return an LSST packet without what Babamul's rows leave out."""
    kept = ("diaSourceId", "diaForcedSourceId", "midpointMjdTai", "psfFlux", "psfFluxErr", "band", "visit")
    kept = (*kept, "ra", "dec")
    return {
        "diaSource": {name: value for name, value in packet["diaSource"].items() if name != "detector"},
        "prvDiaSources": [{n: row[n] for n in kept if n in row} for row in _rows(packet, "prvDiaSources")],
        "prvDiaForcedSources": [
            {n: row[n] for n in kept if n in row} for row in _rows(packet, "prvDiaForcedSources")
        ],
    }


def babamul_ztf(packet: Packet) -> dict[str, Any]:
    """Return a ZTF packet as Babamul sends it on."""
    candidate = {**packet["candidate"], "candid": packet["candid"]}
    candidate["isdiffpos"] = candidate["isdiffpos"] in {"t", "1"}
    flux = 10 ** (-0.4 * (candidate["magpsf"] - 23.9)) * 1e9
    candidate |= {"psfFlux": flux if candidate["isdiffpos"] else -flux, "psfFluxErr": flux / 10}
    candidate |= {"snr": 10.0, "band": ZTF_BANDS[candidate["fid"]]}
    seen = [row for row in _rows(packet, "prv_candidates") if row["candid"] is not None]
    sound = [row for row in _rows(packet, "fp_hists") if row["procstatus"] == "0"]
    return {
        "candid": packet["candid"],
        "objectId": packet["objectId"],
        "candidate": candidate,
        "prv_candidates": [_boom_detection(row) for row in (*seen, packet["candidate"])],
        "prv_nondetections": [],
        "fp_hists": [_boom_forced(row) for row in sound],
        "properties": RADIUS | {"photstats": PHOTSTATS, "multisurvey_photstats": None},
        "survey_matches": None,
    }


def _boom_detection(row: Mapping[str, Any]) -> dict[str, Any]:
    flux = 10 ** (-0.4 * (row["magpsf"] - 23.9)) * 1e9
    return {
        "jd": row["jd"],
        "magpsf": row["magpsf"],
        "sigmapsf": row["sigmapsf"],
        "psfFlux": flux if row["isdiffpos"] in {"t", "1"} else -flux,
        "psfFluxErr": row["sigmapsf"] * flux / 1.0857,
        "band": ZTF_BANDS[row["fid"]],
        "ra": row["ra"],
        "dec": row["dec"],
        "programid": row["programid"],
    }


def _boom_forced(row: Mapping[str, Any]) -> dict[str, Any]:
    factor = 10 ** ((23.9 - row["magzpsci"]) / 2.5) * 1e9
    return {
        "jd": row["jd"],
        "psfFlux": row["forcediffimflux"] * factor,
        "psfFluxErr": row["forcediffimfluxunc"] * factor,
        "band": ZTF_BANDS[row["fid"]],
        "ra": None,
        "dec": None,
        "programid": row["programid"],
    }


def ztf_as_sent_on(packet: Packet) -> dict[str, Any]:
    """Return a ZTF packet without what Babamul's rows leave out."""
    lost = {"rcid", "exptime", "distnr", "magnr", "sigmagnr"}
    sound = [row for row in _rows(packet, "fp_hists") if row["procstatus"] == "0"]
    return {
        "objectId": packet["objectId"],
        "candid": packet["candid"],
        "candidate": {n: value for n, value in packet["candidate"].items() if n != "rcid"},
        "prv_candidates": [_without(row, lost) for row in _rows(packet, "prv_candidates")],
        "fp_hists": [_without(row, lost) for row in sound],
    }


def container(packet: Packet, name: str) -> bytes:
    """Return a packet as an Avro container file under a schema of this name."""
    buffer = io.BytesIO()
    fastavro.writer(buffer, _schema_of(packet, name), [packet])
    return buffer.getvalue()


def _schema_of(value: Any, name: str) -> Any:
    """Return an Avro schema that can hold a value; whatever is null stays that."""
    if isinstance(value, Mapping):
        fields = [{"name": key, "type": _schema_of(each, f"{name}_{key}")} for key, each in value.items()]
        return {"type": "record", "name": name, "fields": fields}
    if isinstance(value, list) and not (value and isinstance(value[0], Mapping)):
        return {"type": "array", "items": _schema_of(value[0], name) if value else "string"}
    if isinstance(value, list):
        common = {key: each for row in value for key, each in row.items() if each is not None}
        every = {key: common.get(key) for row in value for key in row}
        fields = [
            {"name": key, "type": ["null", "string" if each is None else _schema_of(each, f"{name}_{key}")]}
            for key, each in every.items()
        ]
        return {"type": "array", "items": {"type": "record", "name": name, "fields": fields}}
    return {type(None): ["null", "string"], bool: "boolean", int: "long", float: "double", str: "string"}[
        type(value)
    ]


def alerce_lsst(packet: Packet) -> dict[str, Any]:
    """Return an LSST packet as ALeRCE sends its object on."""
    source = packet["diaSource"]
    return {
        "oid": source["diaObjectId"],
        "measurement_id": [source["diaSourceId"]],
        "sources": [_alerce_row(source)],
        "previous_sources": [_alerce_row(row) for row in _rows(packet, "prvDiaSources")],
        "forced_sources": [_alerce_row(row) for row in _rows(packet, "prvDiaForcedSources")],
        "dia_object": [],
    }


def _alerce_row(row: Mapping[str, Any]) -> dict[str, Any]:
    number = {band: each for each, band in alerce.BANDS.items()}.get(row["band"])
    named = {"measurement_id": row.get("diaSourceId", row.get("diaForcedSourceId")), "band": number}
    return _without(row, {"diaSourceId"}) | named


def _rows(packet: Packet, name: str) -> list[dict[str, Any]]:
    return list(packet.get(name) or ())


def _without(row: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}
