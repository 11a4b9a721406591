# SPDX-License-Identifier: BSD-3-Clause
"""Real packets for the brokers' plug-in points, and what the pipeline decides of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from broker_plugin.brokers.scoring import PacketScorer, decision_of
from broker_plugin.codec.packets import read_container_file
from broker_plugin.codec.verdict import Verdict
from broker_plugin.surveys.base import Packet

__all__ = ["decisions", "framed_packets", "in_full", "lsst_packets", "report", "rows", "ztf_packets"]


WITHDRAWN_STEP = 9
"""Of so many LSST packets one says that its detection was withdrawn."""


def lsst_packets(data_dir: Path) -> list[dict[str, Any]]:
    """Return packets of two schema versions, some with hundreds of epochs, objectless, or withdrawn."""
    alerts = data_dir / "alerts" / "lsst"
    older = [*read_container_file(alerts / "lsst_v9_0_nocutouts.avro")][::8]
    newer = [*read_container_file(alerts / "lsst_v10_0_nocutouts.avro")][::4]
    packets = [dict(packet) for packet in (*older, *newer)]
    packets = [p for p in packets if newest(p["diaSource"], rows(p, "prvDiaSources"), "midpointMjdTai")]
    for packet in packets[::WITHDRAWN_STEP]:
        source = packet["diaSource"]
        packet["diaSource"] = source | {"timeWithdrawnMjdTai": source["midpointMjdTai"] + 1.0}
    return packets


def framed_packets(data_dir: Path) -> list[Path]:
    """Return files with packets as Rubin frames them: a zero, four bytes of schema id, and no schema."""
    files = sorted((data_dir / "alerts" / "lsst" / "raw").rglob("*.avro"))
    return [path for path in files if path.read_bytes()[:1] == b"\0"]


def ztf_packets(data_dir: Path) -> list[dict[str, Any]]:
    """Return every 35th packet that is newer than its history."""
    packets = [dict(p) for p in read_container_file(data_dir / "alerts" / "ztf" / "nocutouts.avro")][::35]
    return [p for p in packets if newest(p["candidate"], rows(p, "prv_candidates"), "jd")]


def newest(own: Mapping[str, Any], history: Iterable[Mapping[str, Any]], time: str) -> bool:
    """Tell whether an alert is newer than its history: brokers that keep data points judge the newest."""
    return all(row[time] < own[time] for row in history)


def rows(packet: Packet, name: str) -> list[dict[str, Any]]:
    """Return the rows of an array of a packet; none where it is null."""
    return list(packet.get(name) or ())


def decisions(packets: Iterable[Packet]) -> list[dict[str, Any] | str]:
    """Return what the pipeline decides of packets; of those without a verdict the reason."""
    found = PacketScorer.open("default", device="cpu").judge(packets)
    return [in_full(each) if isinstance(each, Verdict) else str(each) for each in found]


def in_full(verdict: Verdict) -> dict[str, Any]:
    """Return all that any broker carries of a verdict."""
    return {**decision_of(verdict), "class_probabilities": dict(verdict.class_probabilities)}


def report(main: Callable[..., Sequence[Any]]) -> None:
    """Print as JSON what a broker's plug-in point makes of the packets in the folder of real data."""
    json.dump(main(Path(sys.argv[1]), *sys.argv[2:]), sys.stdout)
