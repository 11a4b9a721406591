# SPDX-License-Identifier: BSD-3-Clause
"""Alerts of LSST as ALeRCE's multi-survey pipeline sends them on between its steps.

One message holds an object: new sources, earlier ones and forced photometry, with Rubin's own names and units
but for the identifier and the band, which ALeRCE numbers (`schemas/magstats_ms_step/lsst` of its pipeline,
2026). Each of the new sources is an alert, to which those before it are earlier ones. ALeRCE's classifier
topics hold probabilities without light curves, from which nothing can be judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from broker_plugin.surveys import lsst_fields
from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.fields import Field, Kind, integer, number, rows_of
from broker_plugin.surveys.packets import Row, lsst_packet

__all__ = ["HISTORIES", "NAMES", "is_lsst", "lsst_of", "split"]

NAMES = re.compile(r"(?:[\w.]+\.)?\w+_lsst")
"""Full names of its schemas."""

NEW, EARLIER, FORCED = "sources", "previous_sources", "forced_sources"

HISTORIES = (NEW, EARLIER, FORCED)

BANDS = {6: "u", 1: "g", 2: "r", 3: "i", 4: "z", 5: "y"}
"""ALeRCE's numbers of Rubin's bands."""

BAND = Field(name="band", path="band", kind=Kind.INTEGER)


def is_lsst(packet: Packet) -> bool:
    """Tell whether a packet is ALeRCE's of an LSST object."""
    return {NEW, EARLIER, FORCED} <= packet.keys()


def split(packet: Packet) -> Iterator[Packet]:
    """Yield a packet for each new source; one without any as it is, to be rejected."""
    new, earlier = _by_time(packet), rows_of(packet, EARLIER)
    for place, source in enumerate(new):
        yield {**packet, NEW: [source], EARLIER: [*new[:place], *earlier]}
    if not new:
        yield packet


def lsst_of(packet: Packet) -> Packet:
    """Return the LSST packet of one of ALeRCE's; of several new sources the last is the alert."""
    *earlier, source = _by_time(packet) or [{}]
    return lsst_packet(
        _row(source),
        previous=[_row(row) for row in (*earlier, *rows_of(packet, EARLIER))],
        forced=[_row(row) for row in rows_of(packet, FORCED)],
    )


def _by_time(packet: Packet) -> list[Row]:
    return sorted(rows_of(packet, NEW), key=lambda row: number(row, lsst_fields.MJD) or 0.0)


def _row(row: Row) -> dict[str, Any]:
    return {
        **row,
        "band": BANDS.get(integer(row, BAND) or 0),
        lsst_fields.SOURCE_ID.path: row.get("measurement_id"),
    }
