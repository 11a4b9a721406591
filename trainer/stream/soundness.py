# SPDX-License-Identifier: BSD-3-Clause
"""Which packets of an archive are alerts of the sky, and which were made up or mangled on the way.

Archives hold test fixtures of brokers, rehearsals and replays. They serve parsing; in a calibration they are
ordinary objects that do not exist. The rules look at the packet, since an adapter mends what it can:

`collapsed_history`
    Three rows of history or more, at two times or fewer.
`history_after_alert`
    A row of the history is later than the alert.
`history_elsewhere`
    A row of the history lies more than 36 arcsec from the alert.
`not_on_sky`
    An LSST alert from before LSSTCam saw the sky, or of a schema that only test streams had.
`shared_position`
    Three objects or more at one and the same position to 0.04 arcsec: see `shared_positions`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.sky import separation_arcsec

__all__ = ["SHARED_POSITION", "defect_of", "exposure_of", "shared_positions"]

SHARED_POSITION = "shared_position"

SAME_TIME_DAY = 1e-5
"""Times nearer than this are one exposure; exposures of both surveys are 15 s apart at the least."""

COLLAPSED_ROWS, COLLAPSED_TIMES = 3, 2
"""Fewest rows and most times of a collapsed history. Two rows can be of one night by right."""

ELSEWHERE_ARCSEC = 36.0
"""A history farther away is another source's: ZTF associates within 1.5 arcsec, LSST within 1."""

LSSTCAM_FIRST_LIGHT_MJD = 60780.0
"""2025-04-15, LSSTCam's first photons. What is dated before is a rehearsal or another camera's."""

LSST_SKY_SCHEMA_MIN = 9
"""Schema major of LSSTCam's first alerts (September 2025); before there were test streams."""

POSITION_STEP_DEG = 1e-5
"""Positions equal to this (0.04 arcsec) are one number written twice; measured ones scatter ten times it."""

SHARED_OBJECTS = 3
"""Fewest objects at one position that no survey makes; ZTF gives a position a second name now and then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where a survey's packet holds times, positions and what identifies an exposure."""

    trigger: str
    time: str
    histories: tuple[str, ...]
    exposure: tuple[str, ...]


LAYOUTS: Mapping[str, _Layout] = MappingProxyType(
    {
        "ztf": _Layout(
            trigger="candidate",
            time="jd",
            histories=("prv_candidates", "fp_hists"),
            exposure=("jd", "field"),
        ),
        "lsst": _Layout(
            trigger="diaSource",
            time="midpointMjdTai",
            histories=("prvDiaSources", "prvDiaForcedSources"),
            exposure=("visit",),
        ),
    }
)


def defect_of(packet: Packet, survey: str, *, schema: str = "") -> str | None:
    """Return the first rule that a packet breaks, None for an alert of the sky.

    Parameters
    ----------
    survey
        Whose packet it is.
    schema
        Name of its writer's schema, as `lsst.v10_0.alert`; LSST's version is read from it.

    Examples
    --------
    >>> past = [{"jd": 2460000.5, "ra": 10.0, "dec": 0.0}] * 3
    >>> defect_of({"candidate": {"jd": 2460001.5, "ra": 10.0, "dec": 0.0}, "prv_candidates": past}, "ztf")
    'collapsed_history'
    """
    layout = LAYOUTS[survey]
    if layout.trigger not in packet:
        return "form_of_another_broker"
    trigger = packet[layout.trigger]
    time = float(trigger[layout.time])
    if survey == "lsst" and (time < LSSTCAM_FIRST_LIGHT_MJD or _lsst_major(schema) < LSST_SKY_SCHEMA_MIN):
        return "not_on_sky"
    histories = [_rows(packet, path) for path in layout.histories]
    for rows in histories:
        times = {round(row[layout.time] / SAME_TIME_DAY) for row in rows}
        if len(rows) >= COLLAPSED_ROWS and len(times) <= COLLAPSED_TIMES:
            return "collapsed_history"
    every = [row for rows in histories for row in rows]
    if any(row[layout.time] > time + SAME_TIME_DAY for row in every):
        return "history_after_alert"
    placed = [row for row in every if row.get("ra") is not None and row.get("dec") is not None]
    if placed:
        ra, dec = (np.array([row[name] for row in placed], np.float64) for name in ("ra", "dec"))
        apart = separation_arcsec(ra, dec, centre=(np.float64(trigger["ra"]), np.float64(trigger["dec"])))
        if np.nanmax(apart, initial=0.0) > ELSEWHERE_ARCSEC:
            return "history_elsewhere"
    return None


def exposure_of(packet: Packet, survey: str) -> str:
    """Return a name of the exposure that an alert was found in: its errors are common to all its alerts.

    Examples
    --------
    >>> exposure_of({"candidate": {"jd": 2460001.5, "field": 7}}, "ztf")
    'ztf/246000150000/7'
    """
    layout = LAYOUTS[survey]
    trigger = packet[layout.trigger]
    parts = [trigger.get(name) for name in layout.exposure]
    if not any(parts[1:] or parts):
        parts = [trigger[layout.time]]
    return "/".join([survey, *(_written(part) for part in parts)])


def shared_positions(
    object_id: Sequence[str], ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which alerts lie where `SHARED_OBJECTS` objects or more lie at the very same position."""
    cell = np.stack([np.round(ra_deg / POSITION_STEP_DEG), np.round(dec_deg / POSITION_STEP_DEG)], axis=1)
    _, position = np.unique(cell, axis=0, return_inverse=True)
    _, thing = np.unique(np.asarray(object_id), return_inverse=True)
    pairs = np.unique(np.stack([position.ravel(), thing], axis=1), axis=0)
    objects = np.bincount(pairs[:, 0], minlength=int(position.max(initial=-1)) + 1)
    return np.asarray(objects[position.ravel()] >= SHARED_OBJECTS)


def _rows(packet: Packet, path: str) -> list[Mapping[str, Any]]:
    rows = packet.get(path) or []
    time = "jd" if "candidate" in packet else "midpointMjdTai"
    return [row for row in rows if isinstance(row, Mapping) and isinstance(row.get(time), float)]


def _written(part: Any) -> str:
    return str(round(part / SAME_TIME_DAY)) if isinstance(part, float) else str(part)


def _lsst_major(schema: str) -> int:
    found = re.search(r"v(\d+)_\d+", schema)
    return int(found[1]) if found else LSST_SKY_SCHEMA_MIN
