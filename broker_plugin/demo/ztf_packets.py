# SPDX-License-Identifier: BSD-3-Clause
"""Simulated alerts as ZTF packets, schema 4.02."""

from __future__ import annotations

from typing import Any

import erfa
import numpy as np

from broker_plugin.demo.light import ab_flux_njy, ab_magnitude, black_body
from broker_plugin.demo.observing import Observations
from broker_plugin.demo.schemas import ZTF_VERSION
from broker_plugin.demo.simulator import SimulatedAlert, SimulatedObject, exposure_id
from broker_plugin.times import MJD_ZERO

__all__ = ["ztf_packet"]

SECONDS_PER_DAY = 86400.0

FILTERS = {"g": 1, "r": 2, "i": 3}
PIXEL_ARCSEC = 1.01
ZERO_POINT_MAG = 26.2
"""Magnitude of one count, as in ZTF's exposures of 30 s."""

REFERENCE_LIMIT_MAG = 22.3
"""A fainter source is not on ZTF's reference image; its nearest reference source is then another one."""

REFERENCE_ERROR_MAG = 0.02

MAG_PER_RELATIVE = float(2.5 / np.log(10.0))
"""Magnitudes of error for a relative flux error of 1."""

STATUS_CLEAN, STATUS_NO_REFERENCE, STATUS_NO_FLUX = "0", "57", "61"
NO_FLUX = -99999.0
NO_FLUX_SHARE = 0.05
"""Share of the forced points for which ZTF's pipeline gives a status and no flux."""


def ztf_packet(alert: SimulatedAlert) -> dict[str, Any]:
    """Return the record of a ZTF packet."""
    thing, seen = alert.object, alert.observations
    rng = np.random.default_rng(alert.alert_id)
    last = len(seen) - 1
    moving = thing.source.context == "solar_system"
    candidate = _detection(thing, seen, last, rng) | _catalogue(thing, rng)
    candidate |= {
        "ndethist": int(seen.detected.sum()),
        "ncovhist": len(seen),
        "jdstarthist": _jd_utc(seen.mjd_tai[0]),
        "jdendhist": _jd_utc(seen.mjd_tai[last]),
        "exptime": thing.survey.exposure_s,
        "drb": float(rng.uniform(0.0, 0.08) if thing.source.context == "artefact" else rng.uniform(0.9, 1)),
        "drbversion": "simulated",
        "nmtchps": 9,
        "rfid": 1,
        "jdstartref": _jd_utc(seen.mjd_tai[0]) - 900.0,
        "jdendref": _jd_utc(seen.mjd_tai[0]) - 400.0,
        "nframesref": 30,
        "nmatches": 1000,
    }
    past = [] if moving else range(last)
    return {
        "schemavsn": ZTF_VERSION,
        "publisher": "astrom3-broker demo: simulated, not on the sky",
        "objectId": thing.object_id.removeprefix("ztf:"),
        "candid": alert.alert_id,
        "candidate": candidate,
        "prv_candidates": [
            _detection(thing, seen, row, rng) if seen.detected[row] else _limit(thing, seen, row)
            for row in past
        ],
        "fp_hists": [_forced(thing, seen, row, rng) for row in past],
        "cutoutScience": None,
        "cutoutTemplate": None,
        "cutoutDifference": None,
    }


def _exposure(thing: SimulatedObject, seen: Observations, row: int) -> dict[str, Any]:
    return {
        "jd": _jd_utc(seen.mjd_tai[row]) - thing.survey.exposure_s / 2 / SECONDS_PER_DAY,
        "fid": FILTERS[seen.band[row]],
        "pid": exposure_id(seen.mjd_tai[row], thing.number),
        "diffmaglim": float(seen.limit_mag[row]),
        "programid": 1,
        "rcid": thing.number % 64,
        "field": 500,
        "magzpsci": ZERO_POINT_MAG,
    }


def _detection(
    thing: SimulatedObject, seen: Observations, row: int, rng: np.random.Generator
) -> dict[str, Any]:
    difference, error = float(seen.difference_njy[row]), float(seen.error_njy[row])
    mag, sigma = float(ab_magnitude(abs(difference))), MAG_PER_RELATIVE * error / abs(difference)
    spellings = ("t", "1") if difference > 0 else ("f", "0")
    scatter_deg = 0.1 / 3600.0
    reference_mag, reference_arcsec = _reference(thing, seen, seen.band[row])
    return _exposure(thing, seen, row) | {
        "programpi": "simulation",
        "candid": thing.epoch_id(float(seen.mjd_tai[row]), row),
        "isdiffpos": spellings[int(rng.random() < 0.1)],
        "ra": thing.ra_deg + float(rng.normal(0, scatter_deg) / np.cos(np.radians(thing.dec_deg))),
        "dec": thing.dec_deg + float(rng.normal(0, scatter_deg)),
        "magpsf": mag,
        "sigmapsf": sigma,
        "magap": mag,
        "sigmagap": sigma,
        "distnr": reference_arcsec / PIXEL_ARCSEC,
        "magnr": reference_mag,
        "sigmagnr": REFERENCE_ERROR_MAG,
        "fwhm": 2.0,
        "classtar": 0.9,
        "nbad": 0,
        "rb": float(rng.uniform(0.0, 0.15) if thing.source.context == "artefact" else rng.uniform(0.6, 1.0)),
        "ssdistnr": -999.0,
        "ssmagnr": -999.0,
        "ssnamenr": "null",
        "ranr": thing.ra_deg,
        "decnr": thing.dec_deg,
        "scorr": abs(difference) / error,
        "rbversion": "simulated",
    }


def _limit(thing: SimulatedObject, seen: Observations, row: int) -> dict[str, Any]:
    """Return an exposure that saw nothing: only its depth is known."""
    measured = ("candid", "isdiffpos", "ra", "dec", "magpsf", "sigmapsf", "ranr", "decnr")
    return _exposure(thing, seen, row) | dict.fromkeys(measured) | {"rbversion": "simulated"}


def _forced(thing: SimulatedObject, seen: Observations, row: int, rng: np.random.Generator) -> dict[str, Any]:
    count_njy = float(ab_flux_njy(ZERO_POINT_MAG))
    reference_mag, reference_arcsec = _reference(thing, seen, seen.band[row])
    status = STATUS_CLEAN if reference_arcsec < 1.0 else STATUS_NO_REFERENCE
    flux, error = float(seen.difference_njy[row]) / count_njy, float(seen.error_njy[row]) / count_njy
    if rng.random() < NO_FLUX_SHARE:
        status, flux, error = STATUS_NO_FLUX, NO_FLUX, NO_FLUX
    return _exposure(thing, seen, row) | {
        "rfid": 1,
        "exptime": thing.survey.exposure_s,
        "forcediffimflux": flux,
        "forcediffimfluxunc": error,
        "procstatus": status,
        "distnr": reference_arcsec,
        "ranr": thing.ra_deg,
        "decnr": thing.dec_deg,
        "magnr": reference_mag,
        "sigmagnr": REFERENCE_ERROR_MAG,
    }


def _reference(thing: SimulatedObject, seen: Observations, band: str) -> tuple[float, float]:
    """Return magnitude and distance (arcsec) of the nearest source on the reference image."""
    host = thing.source.host
    if host is not None:
        wave_nm = thing.survey.wave_nm(np.array([band]))
        return host.mag_r - 2.5 * float(
            np.log10(black_body(wave_nm, host.temperature_k)[0])
        ), host.offset_arcsec
    flux = seen.reference_njy[band]
    if flux > float(ab_flux_njy(REFERENCE_LIMIT_MAG)):
        return float(ab_magnitude(flux)), 0.15
    return 20.5, 6.0 + thing.number % 20


def _catalogue(thing: SimulatedObject, rng: np.random.Generator) -> dict[str, Any]:
    """Return what Pan-STARRS and the asteroid catalogue say of the position."""
    context = thing.source.context
    if context == "solar_system":
        return {
            "ssdistnr": float(rng.uniform(0.1, 1.0)),
            "ssmagnr": 18.5,
            "ssnamenr": str(100_000 + thing.number),
            "sgscore1": 0.5,
            "distpsnr1": float(rng.uniform(5.0, 20.0)),
        }
    galaxy = context == "galaxy_host"
    host = thing.source.host
    mags = {f"s{band}mag1": float(mag) for band, mag in thing.catalogue_mag.items()}
    return mags | {
        "sgscore1": float(rng.uniform(0.0, 0.15) if galaxy else rng.uniform(0.9, 1.0)),
        "distpsnr1": min(host.offset_arcsec, 2.9) if host is not None else float(rng.uniform(0.02, 0.4)),
    }


def _jd_utc(mjd_tai: float) -> float:
    utc_1, utc_2 = erfa.taiutc(MJD_ZERO, float(mjd_tai))
    return float(utc_1 + utc_2)
