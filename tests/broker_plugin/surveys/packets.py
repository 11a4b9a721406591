# SPDX-License-Identifier: BSD-3-Clause
"""Small packets of both surveys, and what to compare alerts with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from broker_plugin.codec.packets import read_container_file
from broker_plugin.epochs import EpochRows
from broker_plugin.records import METADATA_COLUMNS, Access, Alert, LightCurve, Provenance
from broker_plugin.surveys.lsst import LsstAdapter
from broker_plugin.surveys.ztf import ZtfAdapter
from broker_plugin.upper_limits import UpperLimits

FROM_TEST = Provenance(topic="test")
PUBLIC = frozenset({Access.PUBLIC})
JD = 2_459_000.75
MJD = 60_900.25


def ztf_alert(packet: Mapping[str, Any], access: frozenset[Access] = PUBLIC) -> Alert:
    return ZtfAdapter().adapt(packet, access=access, provenance=FROM_TEST)


def lsst_alert(packet: Mapping[str, Any]) -> Alert:
    return LsstAdapter().adapt(packet, access=PUBLIC, provenance=FROM_TEST)


def ztf_detection(**changes: Any) -> dict[str, Any]:
    """Return a detection of magnitude 18 without a reference source, in r."""
    return {
        "jd": JD,
        "fid": 2,
        "programid": 1,
        "candid": 1_000_000_015_015_000_001,
        "isdiffpos": "t",
        "rcid": 10,
        "field": 600,
        "ra": 150.0,
        "dec": 2.0,
        "magpsf": 18.0,
        "sigmapsf": 0.1,
        "distnr": None,
        "magnr": None,
        "sigmagnr": None,
    } | changes


def ztf_forced(**changes: Any) -> dict[str, Any]:
    """Return a clean forced point of 100 counts, a day before the alert."""
    return {
        "jd": JD - 1,
        "fid": 2,
        "programid": 1,
        "rcid": 10,
        "field": 600,
        "exptime": 30.0,
        "forcediffimflux": 100.0,
        "forcediffimfluxunc": 10.0,
        "magzpsci": 26.0,
        "procstatus": "0",
        "distnr": -99999.0,
        "magnr": -99999.0,
        "sigmagnr": -99999.0,
    } | changes


def ztf_packet(
    *, previous: Any = None, forced: Any = None, top: Mapping[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    candidate = ztf_detection() | {
        "exptime": 30.0,
        "rb": 0.8,
        "drb": 0.99,
        "sgscore1": -999.0,
        "distpsnr1": -999.0,
        "sgmag1": -999.0,
        "srmag1": -999.0,
        "simag1": -999.0,
        "szmag1": -999.0,
        "ssdistnr": -999.0,
        "ssmagnr": -999.0,
        "ssnamenr": "null",
    }
    candidate |= changes
    return {
        "schemavsn": "4.02",
        "objectId": "ZTF20aaaaaaa",
        "candid": candidate["candid"],
        "candidate": candidate,
        "prv_candidates": previous,
        "fp_hists": forced,
    } | dict(top or {})


def lsst_source(**changes: Any) -> dict[str, Any]:
    """Return a detection of 1000 nJy on the difference image, in r."""
    return {
        "diaSourceId": 170_000_000_000_000_001,
        "visit": 2_026_010_100_001,
        "detector": 50,
        "diaObjectId": 170_000_000_000_000_009,
        "ssObjectId": None,
        "midpointMjdTai": MJD,
        "ra": 150.0,
        "dec": 2.0,
        "psfFlux": 1000.0,
        "psfFluxErr": 50.0,
        "scienceFlux": 5000.0,
        "scienceFluxErr": 60.0,
        "templateFlux": 4000.0,
        "templateFluxErr": 20.0,
        "reliability": 0.9,
        "extendedness": 0.0,
        "isDipole": False,
        "glint_trail": False,
        "band": "r",
        "timeWithdrawnMjdTai": None,
    } | changes


def lsst_forced(**changes: Any) -> dict[str, Any]:
    """Return a forced point, a day before the alert."""
    return {
        "diaForcedSourceId": 170_000_000_000_000_101,
        "visit": 2_025_123_100_001,
        "detector": 51,
        "midpointMjdTai": MJD - 1,
        "ra": 150.0,
        "dec": 2.0,
        "psfFlux": 200.0,
        "psfFluxErr": 50.0,
        "scienceFlux": 4200.0,
        "scienceFluxErr": 60.0,
        "band": "r",
        "timeWithdrawnMjdTai": None,
    } | changes


def lsst_packet(
    *, previous: Any = None, forced: Any = None, top: Mapping[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    source = lsst_source(**changes)
    return {
        "diaSourceId": source["diaSourceId"],
        "diaSource": source,
        "prvDiaSources": previous,
        "prvDiaForcedSources": forced,
        "diaObject": {"diaObjectId": source["diaObjectId"]} if source["diaObjectId"] else None,
        "ssSource": None,
    } | dict(top or {})


def parts(alert: Alert) -> dict[str, Any]:
    """Return all that an alert holds, bit for bit, but its provenance."""
    curve = alert.light_curve
    record = {column.name: getattr(alert, column.name) for column in fields(Alert)}
    record["light_curve"] = [getattr(curve, column.name).tobytes() for column in fields(LightCurve)]
    record["limits"] = [getattr(alert.limits, column.name).tobytes() for column in fields(UpperLimits)]
    if alert.rows is not None:  # in any order
        columns = [getattr(alert.rows, column.name).tolist() for column in fields(EpochRows)]
        record["rows"] = sorted(repr(row) for row in zip(*columns, strict=True))
    record["metadata"] = {name: np.float64(value).tobytes() for name, value in alert.metadata.items()}
    del record["provenance"]
    return record


def assert_sound(alert: Alert) -> None:
    """Check what every alert of every packet promises."""
    curve = alert.light_curve
    assert np.isfinite([alert.ra_deg, alert.dec_deg, alert.mjd_tai]).all()
    assert 0 < alert.alert_id < 2**63
    for name in ("mjd_tai", "flux_njy", "flux_err_njy"):
        assert np.isfinite(getattr(curve, name)).all()
    assert (curve.flux_err_njy > 0).all()
    assert (np.diff(curve.mjd_tai) >= 0).all()
    assert (curve.mjd_tai <= alert.mjd_tai).all()
    for band in np.unique(curve.band):
        assert len(np.unique(curve.apparent[curve.band == band])) == 1
    assert set(alert.metadata) <= set(METADATA_COLUMNS)
    assert np.isfinite(np.array(list(alert.metadata.values()), np.float32)).all()
    assert alert.object_id.startswith(f"{alert.survey}:")


@cache
def real_packets(path: Path) -> tuple[dict[str, Any], ...]:
    """Return the packets of a container file, read once in a run: do not change them."""
    return tuple(dict(packet) for packet in read_container_file(path))
