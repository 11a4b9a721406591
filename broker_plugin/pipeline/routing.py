# SPDX-License-Identifier: BSD-3-Clause
"""Verdicts to topics: all of them to one, the few that a route chooses to candidates, embeddings to a third.

Three topics, since their readers differ. Verdicts are small and many, and kept for days. A candidate is one
in thousands and carries all that a person needs to look at it, for weeks. Embeddings are bulk, and off unless
a topic is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from broker_plugin.codec.topic_schema import EncodeRecord
from broker_plugin.codec.verdict import Verdict, to_record
from broker_plugin.pipeline.links import object_pages
from broker_plugin.pipeline.selection import Selection
from broker_plugin.records import Alert, LightCurve, Origin
from broker_plugin.streams.base import OutgoingMessage
from broker_plugin.taxonomy import PASSBANDS
from broker_plugin.upper_limits import UpperLimits

__all__ = [
    "EmbeddingTopic",
    "NumberFormat",
    "Route",
    "candidate_record",
    "embedding_record",
    "without_embedding",
]

NumberFormat = Literal["float16", "float32"]

EPOCHS_MAX = 10_000
"""Epochs of a candidate, the last ones, and as many upper limits: half of the megabyte that a topic takes by
default. No survey has as many of one object yet."""

BANDS = tuple(name for name, _ in PASSBANDS)

ORIGINS = {int(origin): origin.name.lower() for origin in Origin}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Sends chosen verdicts to a topic of candidates.

    A retraction that the rule chooses goes there too, to the readers of the candidate that it takes back, and
    says so in the header `revision`. A route remembers nothing: its reader knows whether there was one.

    Parameters
    ----------
    name
        What a candidate says of why it is there.
    topic
        Where they go.
    selection
        Which are chosen.
    encode
        How a candidate becomes bytes.
    """

    name: str
    topic: str
    selection: Selection
    encode: EncodeRecord

    def candidates(self, verdict: Verdict, alert: Alert | None) -> list[OutgoingMessage]:
        """Return the candidate that a verdict makes, if it is chosen."""
        if not self.selection.accepts(verdict):
            return []
        return [
            OutgoingMessage(
                topic=self.topic,
                key=verdict.object_id.encode(),
                value=self.encode(candidate_record(self.name, verdict, alert)),
                headers=(
                    ("verdict_id", verdict.verdict_id.encode()),
                    ("route", self.name.encode()),
                    ("revision", verdict.revision.encode()),
                ),
            )
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingTopic:
    """Sends the embedding of every verdict to a topic of its own."""

    topic: str
    number_format: NumberFormat
    encode: EncodeRecord

    def message(self, verdict: Verdict) -> OutgoingMessage:
        """Return the message of a verdict that has an embedding."""
        return OutgoingMessage(
            topic=self.topic,
            key=verdict.object_id.encode(),
            value=self.encode(embedding_record(verdict, self.number_format)),
            headers=(("verdict_id", verdict.verdict_id.encode()),),
        )


def candidate_record(route: str, verdict: Verdict, alert: Alert | None) -> dict[str, Any]:
    """Return the record of a candidate; its light curve is what the verdict was made from."""
    return {
        "route": route,
        "verdict": to_record(verdict),
        "light_curve": [] if alert is None else _epochs(alert.light_curve),
        "links": object_pages(verdict.object_id),
        "upper_limits": [] if alert is None else _limits(alert.limits),
    }


def embedding_record(verdict: Verdict, number_format: NumberFormat) -> dict[str, Any]:
    """Return the record of an embedding."""
    values = np.array(verdict.embedding or (), np.dtype(number_format).newbyteorder("<"))
    return {
        "verdict_id": verdict.verdict_id,
        "alert_key": verdict.alert_key,
        "object_id": verdict.object_id,
        "ra_deg": verdict.ra_deg,
        "dec_deg": verdict.dec_deg,
        "mjd_tai": verdict.mjd_tai,
        "tense": str(verdict.tense),
        "bundle_digest": verdict.bundle_digest,
        "modalities": list(verdict.modalities),
        "format": number_format,
        "dimension": len(values),
        "values": values.tobytes(),
    }


def without_embedding(verdict: Verdict) -> Verdict:
    """Return a verdict for the topic of all, which stays small."""
    return verdict if verdict.embedding is None else verdict._replace(embedding=None)


def _epochs(whole: LightCurve) -> list[dict[str, Any]]:
    curve = whole.take(slice(-EPOCHS_MAX, None))
    return [
        {
            "mjd_tai": mjd,
            "band": BANDS[band],
            "flux_njy": flux,
            "flux_err_njy": error,
            "origin": ORIGINS[origin],
            "apparent": apparent,
        }
        for mjd, band, flux, error, origin, apparent in zip(
            curve.mjd_tai.tolist(),
            curve.band.tolist(),
            curve.flux_njy.tolist(),
            curve.flux_err_njy.tolist(),
            curve.origin.tolist(),
            curve.apparent.tolist(),
            strict=True,
        )
    ]


def _limits(whole: UpperLimits) -> list[dict[str, Any]]:
    limits = whole.take(slice(-EPOCHS_MAX, None))
    columns = limits.mjd_tai.tolist(), limits.band.tolist(), limits.limit_njy.tolist()
    return [
        {"mjd_tai": mjd, "band": BANDS[band], "limit_njy": limit}
        for mjd, band, limit in zip(*columns, strict=True)
    ]
