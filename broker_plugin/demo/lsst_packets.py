# SPDX-License-Identifier: BSD-3-Clause
"""Simulated alerts as LSST packets, schema 11.1."""

from __future__ import annotations

from typing import Any

import numpy as np

from broker_plugin.demo.light import ab_flux_njy, black_body
from broker_plugin.demo.observing import Observations
from broker_plugin.demo.simulator import SimulatedAlert, SimulatedObject

__all__ = ["lsst_packet"]

POINT_SPREAD_ARCSEC = 0.8
"""Seeing of LSST's templates: how fast a host's light falls off from its centre."""

TEMPLATE_GAIN = 10.0
"""Error of an exposure over that of a template, which is the mean of about a hundred."""


def lsst_packet(alert: SimulatedAlert) -> dict[str, Any]:
    """Return the record of an LSST packet."""
    thing, seen = alert.object, alert.observations
    rng = np.random.default_rng(alert.alert_id % 2**63)
    last = len(seen) - 1
    moving = thing.source.context == "solar_system"
    found = np.flatnonzero(seen.detected[:last])
    first = int(found[0]) if len(found) else last
    forced = [] if moving else [_forced(thing, seen, row) for row in range(first, last)]
    return {
        "diaSourceId": alert.alert_id,
        "observation_reason": "simulated",
        "target_name": None,
        "diaSource": _source(thing, seen, last, rng),
        "prvDiaSources": None if moving else [_source(thing, seen, int(row), rng) for row in found],
        "prvDiaForcedSources": forced,
        "diaObject": None if moving else _object(thing, seen, n_sources=len(found) + 1, first=first),
        "ssSource": _solar_system_source(thing, alert.alert_id) if moving else None,
        "mpc_orbits": None,
        "cutoutDifference": None,
        "cutoutScience": None,
        "cutoutTemplate": None,
    }


def _exposure(thing: SimulatedObject, seen: Observations, row: int) -> dict[str, Any]:
    mjd_tai = float(seen.mjd_tai[row])
    template_njy = _template(thing, seen, seen.band[row])
    return {
        "visit": round(mjd_tai * 1e5),
        "detector": thing.number % 189,
        "ra": thing.ra_deg,
        "dec": thing.dec_deg,
        "midpointMjdTai": mjd_tai,
        "psfFlux": float(seen.difference_njy[row]),
        "psfFluxErr": float(seen.error_njy[row]),
        "scienceFlux": float(seen.difference_njy[row]) + template_njy,
        "scienceFluxErr": float(seen.error_njy[row]),
        "band": str(seen.band[row]),
        "timeProcessedMjdTai": mjd_tai + 0.001,
        "timeWithdrawnMjdTai": None,
    }


def _source(thing: SimulatedObject, seen: Observations, row: int, rng: np.random.Generator) -> dict[str, Any]:
    moving, is_dipole = (thing.source.context == kind for kind in ("solar_system", "artefact"))
    record = _exposure(thing, seen, row)
    return record | {
        "diaSourceId": thing.epoch_id(float(seen.mjd_tai[row]), row),
        "diaObjectId": 0 if moving else _plain_id(thing),
        "ssObjectId": _plain_id(thing) if moving else None,
        "parentDiaSourceId": 0,
        "exposureTime": thing.survey.exposure_s,
        "x": 2000.0,
        "y": 2000.0,
        "apFlux": record["psfFlux"],
        "apFluxErr": record["psfFluxErr"],
        "isNegative": record["psfFlux"] < 0,
        "snr": abs(record["psfFlux"]) / record["psfFluxErr"],
        "psfNdata": 1681,
        "trailNdata": 0,
        "dipoleNdata": 0,
        "bboxSize": 35,
        "templateFlux": _template(thing, seen, seen.band[row]),
        "templateFluxErr": record["psfFluxErr"] / TEMPLATE_GAIN,
        "extendedness": float(rng.uniform(0.6, 0.8) if is_dipole else rng.uniform(0.0, 0.2)),
        "reliability": float(rng.uniform(0.1, 0.45) if is_dipole else rng.uniform(0.6, 1.0)),
        "pixelFlags": False,
        "isDipole": is_dipole,
    }


def _forced(thing: SimulatedObject, seen: Observations, row: int) -> dict[str, Any]:
    return _exposure(thing, seen, row) | {
        "diaForcedSourceId": thing.epoch_id(float(seen.mjd_tai[row]), row) + 500,
        "diaObjectId": _plain_id(thing),
    }


def _object(thing: SimulatedObject, seen: Observations, *, n_sources: int, first: int) -> dict[str, Any]:
    return {
        "diaObjectId": _plain_id(thing),
        "validityStartMjdTai": float(seen.mjd_tai[-1]),
        "ra": thing.ra_deg,
        "dec": thing.dec_deg,
        "firstDiaSourceMjdTai": float(seen.mjd_tai[first]),
        "lastDiaSourceMjdTai": float(seen.mjd_tai[-1]),
        "nDiaSources": n_sources,
    } | {
        f"{band}_psfFluxNdata": int((seen.detected & (seen.band == band)).sum())
        for band in thing.survey.bands
    }


def _solar_system_source(thing: SimulatedObject, alert_id: int) -> dict[str, Any]:
    return {
        "diaSourceId": alert_id,
        "ssObjectId": _plain_id(thing),
        "designation": f"simulated {thing.number}",
        "eclLambda": thing.ra_deg,
        "eclBeta": 0.0,
        "galLon": 0.0,
        "galLat": 0.0,
    }


def _template(thing: SimulatedObject, seen: Observations, band: str) -> float:
    """Return the flux of the template at the source: its own, and what reaches there of its host."""
    host = thing.source.host
    if host is None:
        return seen.reference_njy[band]
    wave_nm = thing.survey.wave_nm(np.array([band]))
    nucleus = float(ab_flux_njy(host.mag_r) * black_body(wave_nm, host.temperature_k)[0])
    return seen.reference_njy[band] + nucleus * float(np.exp(-host.offset_arcsec / POINT_SPREAD_ARCSEC))


def _plain_id(thing: SimulatedObject) -> int:
    return int(thing.object_id.rpartition(":")[2])
