# SPDX-License-Identifier: BSD-3-Clause
"""Packets to verdicts inside another broker's process, as `broker-plugin replay` would judge them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Self

from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.errors import RejectedAlert
from broker_plugin.pipeline.assembly import FilterRecipe
from broker_plugin.pipeline.filter import AlertFilter
from broker_plugin.streams.base import Message
from broker_plugin.surveys.base import Packet

__all__ = ["Decision", "PacketScorer", "decision_of", "opened"]

Decision = dict[str, str | float | int]
"""What every broker can carry of a verdict: a flat record of texts and finite numbers."""


class PacketScorer:
    """Judges packets. Make it with `PacketScorer.open`.

    Parameters
    ----------
    alert_filter
        Decodes and scores.
    """

    def __init__(self, alert_filter: AlertFilter) -> None:
        self._filter = alert_filter

    @classmethod
    def open(cls, bundle: str = "default", *, device: str = "auto", tense: Tense = Tense.CURRENT) -> Self:
        """Open a bundle.

        Parameters
        ----------
        bundle, device
            As for `Scorer.open`, and as it raises.
        tense
            What the verdicts say of their time.
        """
        recipe = FilterRecipe(bundle=bundle, device=device, tense=tense)
        return cls(recipe.filter(recipe.scorer()))

    def judge(self, packets: Iterable[Packet]) -> list[Verdict | RejectedAlert]:
        """Return of each packet its verdict or why it cannot have one; a bad packet costs itself only."""
        messages = [
            Message(topic="", partition=0, offset=number, value=b"", packet=packet)
            for number, packet in enumerate(packets)
        ]
        return [
            judgement.verdicts[0] if judgement.rejection is None else judgement.rejection
            for judgement in self._filter.judge(messages)
        ]


@cache
def opened(bundle: str = "default", device: str = "auto") -> PacketScorer:
    """Return the process's one scorer of a bundle: brokers call a function anew for each batch."""
    return PacketScorer.open(bundle, device=device)


def decision_of(verdict: Verdict) -> Decision:
    """Return what a broker can carry of a verdict.

    A class that does not apply (outside stellar sources) is an empty text, with probability 0. `revision` is
    `retraction` where the survey withdrew the detection: nothing to select.
    """
    return {
        "verdict_id": verdict.verdict_id,
        "revision": str(verdict.revision),
        "bundle": f"{verdict.bundle_name} {verdict.bundle_digest[:12]}",
        "source_context": verdict.source_context,
        "class": verdict.top_class or "",
        "class_probability": verdict.top_class_probability or 0.0,
        "anomaly_score": verdict.anomaly_score,
        "anomaly_p_value": verdict.anomaly_p_value,
        "calibration_n": verdict.calibration_n,
        "n_epochs": verdict.n_epochs,
        "explanation": verdict.explanation,
    }
