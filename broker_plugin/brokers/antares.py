# SPDX-License-Identifier: BSD-3-Clause
"""ANTARES: a filter that tags strange loci and writes class, p-value and explanation as locus properties.

The filter works on ZTF and LSST loci. The newest alert of a locus is the one that is judged, the earlier ones
of the same survey are its history; forced photometry of LSST is used where the pipeline hands it over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from antares_devkit.models import BaseFilter

from broker_plugin.brokers.scoring import PacketScorer, decision_of
from broker_plugin.errors import RejectedAlert
from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.packets import Row, lsst_packet, ztf_packet

__all__ = ["STRANGE", "AstroM3", "packet_of_locus"]

ZTF_CANDIDATE, LSST_SOURCE = 1, 4
"""Values of `ant_survey`; 2 are ZTF's upper limits, 3 is DECam."""

ZTF_PREFIX, LSST_PREFIX = "ztf_", "lsst_diaSource_"

LSST_FORCED = "lsst_fp_hists"
"""Property that is not kept, with the rows of `prvDiaForcedSources`."""

STRANGE = "astrom3_strange"
"""The tag, and so the topic."""

PROPERTIES = {
    "class": ("str", "Most probable class of variable star; empty where classes do not apply"),
    "class_probability": ("float", "Its calibrated probability"),
    "anomaly_score": ("float", "Larger is stranger"),
    "anomaly_p_value": ("float", "Share of ordinary sources of its kind that are as strange"),
    "calibration_n": ("int", "Number of sources behind the p-value"),
    "n_epochs": ("int", "Epochs that were used"),
    "explanation": ("str", "In words"),
    "revision": ("str", "initial, or retraction where the survey withdrew the newest alert"),
    "bundle": ("str", "Model and digest"),
}
"""What is written of a decision, as locus properties `astrom3_NAME`."""


def _tags(max_p_value: float) -> list[dict[str, str]]:
    """Return what ANTARES is told of the tag."""
    return [{"name": STRANGE, "description": f"Anomaly p-value of AstroM3 at or below {max_p_value:g}"}]


class AstroM3(BaseFilter):  # type: ignore[misc]  # the host's class is untyped here
    """Tags loci whose newest alert is stranger than all but one in a hundred sources of its kind.

    A filter of another `MAX_P_VALUE` declares that one.
    """

    TRIGGERING_SURVEY = "all"
    MAX_P_VALUE = 0.01
    BUNDLE = "default"
    OUTPUT_LOCUS_TAGS = _tags(MAX_P_VALUE)
    OUTPUT_LOCUS_PROPERTIES = [  # noqa: RUF012 - the host's declaration
        {"name": f"astrom3_{name}", "type": kind, "description": text}
        for name, (kind, text) in PROPERTIES.items()
    ]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Declare the tag with the limit of the filter, unless it declares its own."""
        super().__init_subclass__(**kwargs)
        if "OUTPUT_LOCUS_TAGS" not in vars(cls):
            cls.OUTPUT_LOCUS_TAGS = _tags(cls.MAX_P_VALUE)

    def setup(self) -> None:
        """Open the bundle, once."""
        self._scorer = PacketScorer.open(self.BUNDLE, device="cpu")

    def _run(self, locus: Any) -> None:
        packet = packet_of_locus(locus)
        if packet is None:
            return
        found = self._scorer.judge([packet])[0]
        if isinstance(found, RejectedAlert):
            raise found  # the host notes the filter as errored, with the reason
        decision = decision_of(found)
        for name in PROPERTIES:
            locus.set_property(f"astrom3_{name}", decision[name])
        if found.anomaly_p_value <= self.MAX_P_VALUE and not found.is_retraction:
            locus.tag(STRANGE)


def packet_of_locus(locus: Any) -> Packet | None:
    """Return the packet of a locus's newest alert; None where that is neither of ZTF nor of LSST."""
    newest = locus.alert.properties
    survey = newest["ant_survey"]
    earlier = [
        alert.properties for alert in locus.alerts[:-1] if alert.properties.get("ant_survey") == survey
    ]
    if survey == LSST_SOURCE:
        forced = locus.alert.non_persistent_properties.get(LSST_FORCED) or ()
        return lsst_packet(_without(newest, LSST_PREFIX), previous=_rows(earlier, LSST_PREFIX), forced=forced)
    if survey == ZTF_CANDIDATE:
        return ztf_packet(
            newest["ztf_object_id"], _without(newest, ZTF_PREFIX), previous=_rows(earlier, ZTF_PREFIX)
        )
    return None


def _rows(alerts: Iterable[Mapping[str, Any]], prefix: str) -> list[Row]:
    return [_without(properties, prefix) for properties in alerts]


def _without(properties: Mapping[str, Any], prefix: str) -> Row:
    return {name.removeprefix(prefix): value for name, value in properties.items() if name.startswith(prefix)}
