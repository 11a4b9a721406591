# SPDX-License-Identifier: BSD-3-Clause
"""Real packets as states of AMPEL's stocks through AMPEL's own unit class."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ampel.struct.UnitResult import UnitResult

from broker_plugin.brokers.ampel import T2AstroM3
from tests.broker_plugin.brokers.sample import lsst_packets, report, rows, ztf_packets


def point(body: dict[str, Any], *tags: str) -> dict[str, Any]:
    return {"id": 0, "channel": ["ASTROM3"], "meta": [], "tag": list(tags), "body": body}


def lsst_points(packet: dict[str, Any]) -> list[dict[str, Any]]:
    points = [point(row, "LSST", "LSST_DP") for row in (packet["diaSource"], *rows(packet, "prvDiaSources"))]
    points += [point(row, "LSST", "LSST_FP") for row in rows(packet, "prvDiaForcedSources")]
    return points + ([point(packet["diaObject"], "LSST", "LSST_OBJ")] if packet["diaObject"] else [])


def ztf_points(packet: dict[str, Any]) -> list[dict[str, Any]]:
    candidate = packet["candidate"] | {"candid": packet["candid"]}
    earlier = rows(packet, "prv_candidates")
    points = [point(candidate, "ZTF", "ZTF_DP")]
    points += [point(row, "ZTF", "ZTF_UL" if row.get("candid") is None else "ZTF_DP") for row in earlier]
    return points + [point(row, "ZTF", "ZTF_FP") for row in rows(packet, "fp_hists")]


def main(data_dir: Path) -> list[Any]:
    unit = T2AstroM3(logger=logging.getLogger("ampel"), bundle="default")
    outcomes = [unit.process({"stock": 1}, lsst_points(packet)) for packet in lsst_packets(data_dir)]
    outcomes += [
        unit.process({"stock": packet["objectId"]}, ztf_points(packet)) for packet in ztf_packets(data_dir)
    ]
    return [each.body["reason"] if isinstance(each, UnitResult) else each for each in outcomes]


if __name__ == "__main__":
    report(main)
