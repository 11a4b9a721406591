# SPDX-License-Identifier: BSD-3-Clause
"""AMPEL: a T2 unit bound to the state of a stock, its data points in, the verdict out.

The newest detection of a state is the one that is judged; the other data points are its history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ampel.abstract.AbsStateT2Unit import AbsStateT2Unit
from ampel.enum.DocumentCode import DocumentCode
from ampel.struct.UnitResult import UnitResult

from broker_plugin.brokers.scoring import decision_of, opened
from broker_plugin.errors import RejectedAlert
from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.packets import Row, lsst_packet, ztf_packet

__all__ = ["T2AstroM3", "packet_of_state"]

LSST_TIME, ZTF_TIME = "midpointMjdTai", "jd"


class T2AstroM3(AbsStateT2Unit):  # type: ignore[misc]  # the host's class is untyped here
    """Classifies a state and says how strange it is.

    Parameters
    ----------
    bundle
        Name of an installed bundle, or a directory.
    device
        `auto`, `cpu`, `cuda` or `openvino`.
    """

    bundle: str = "default"
    device: str = "cpu"

    def process(self, compound: Mapping[str, Any], datapoints: Iterable[Mapping[str, Any]]) -> Any:
        """Return the decision, class probabilities included, or an error code with the reason."""
        packet = packet_of_state(str(compound["stock"]), list(datapoints))
        if packet is None:
            return UnitResult(code=DocumentCode.T2_MISSING_INFO, body={"reason": "no detection"})
        found = opened(self.bundle, self.device).judge([packet])[0]
        if isinstance(found, RejectedAlert):
            return UnitResult(code=DocumentCode.ERROR, body={"reason": str(found)})
        return {**decision_of(found), "class_probabilities": dict(found.class_probabilities)}


def packet_of_state(stock: str, datapoints: Sequence[Mapping[str, Any]]) -> Packet | None:
    """Return the packet of a state's newest detection; None where it has none.

    Parameters
    ----------
    stock
        Name of the object, for ZTF's data points, which do not hold it.
    datapoints
        Tagged by their survey and kind: `LSST_DP`, `LSST_FP`, `LSST_OBJ`, `ZTF_DP`, `ZTF_FP`.
    """
    if seen := _newest_first(datapoints, "LSST_DP", LSST_TIME):
        owner = next(iter(_bodies(datapoints, "LSST_OBJ")), None)
        forced = _bodies(datapoints, "LSST_FP")
        return lsst_packet(seen[0], previous=seen[1:], forced=forced, dia_object=owner)
    if seen := _newest_first(datapoints, "ZTF_DP", ZTF_TIME):
        return ztf_packet(stock, seen[0], previous=seen[1:], forced=_bodies(datapoints, "ZTF_FP"))
    return None


def _bodies(datapoints: Iterable[Mapping[str, Any]], tag: str) -> list[Row]:
    return [point["body"] for point in datapoints if tag in point.get("tag", ())]


def _newest_first(datapoints: Iterable[Mapping[str, Any]], tag: str, time: str) -> list[Row]:
    return sorted(_bodies(datapoints, tag), key=lambda body: float(body[time]), reverse=True)
