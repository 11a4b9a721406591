# SPDX-License-Identifier: BSD-3-Clause
"""Lasair: objects of its LSST deployment in, annotations out, within the limits of its fields.

Lasair keeps one annotation for each object and topic, the latest. Its server takes texts of limited length
and refuses the whole annotation otherwise, so that what is too long is cut here, at a word.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from broker_plugin import __version__
from broker_plugin.brokers.scoring import PacketScorer
from broker_plugin.codec.verdict import Verdict
from broker_plugin.errors import BrokerPluginError, RejectedAlert, RejectReason, TransientError
from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.packets import lsst_packet

__all__ = ["LasairClient", "annotate", "annotation_of", "packet_of_object"]

CLASSIFICATION_MAX, VERSION_MAX, EXPLANATION_MAX, CLASSDICT_MAX = 80, 16, 1024, 4096
"""Characters that Lasair takes; the last is that of the JSON text."""

NO_CLASS = "not a star"
"""Classification of what the classes do not apply to; Lasair takes no empty one."""

WITHDRAWN = "withdrawn"
"""Classification where the survey withdrew the newest detection: it replaces what we said of that."""

SOURCES, FORCED, OBJECT = "diaSourcesList", "diaForcedSourcesList", "diaObject"

TIME = "midpointMjdTai"

FAILURE = "error"
"""What Lasair's client answers with, in place of what was asked for, when it does not raise."""

FAILURE_MAX = 300
"""Characters of a failure that are told: it may be a whole page of a web server."""


class LasairClient(Protocol):
    """What is used of `lasair.lasair_client`."""

    def object(self, object_id: Any, lite: bool = ..., lasair_added: bool = ...) -> Mapping[str, Any]:
        """Return an object with its light curve."""
        ...

    def annotate_list(self, annotations: list[dict[str, Any]]) -> Any:
        """Send annotations, in one request."""
        ...


def annotate(
    client: LasairClient, object_ids: Iterable[int | str], *, topic: str, scorer: PacketScorer
) -> dict[int | str, BrokerPluginError]:
    """Judge objects and annotate them, all in one request.

    A failure costs the objects that it concerns: of one that cannot be fetched itself alone.

    Parameters
    ----------
    client
        A `lasair_client` with the token of the topic's owner.
    object_ids
        As a filter's stream names them.
    topic
        The annotation topic, which Lasair's team makes.
    scorer
        Judges.

    Returns
    -------
    refused
        By object, why it got no annotation: a `RejectedAlert` where it can have none, a `TransientError` with
        what Lasair said where it may be given again.
    """
    packets: dict[int | str, Packet] = {}
    refused: dict[int | str, BrokerPluginError] = {}
    for each in object_ids:
        try:
            packets[each] = _fetched(client, each)
        except (RejectedAlert, TransientError) as why:
            refused[each] = why
    found = dict(zip(packets, scorer.judge(packets.values()), strict=True))
    refused |= {each: why for each, why in found.items() if isinstance(why, RejectedAlert)}
    annotations = {
        each: annotation_of(verdict, object_id=each, topic=topic)
        for each, verdict in found.items()
        if isinstance(verdict, Verdict)
    }
    if annotations:
        try:
            _answer("take the annotation", lambda: client.annotate_list(list(annotations.values())))
        except TransientError as why:
            refused |= dict.fromkeys(annotations, why)
    return refused


def packet_of_object(lasair_object: Mapping[str, Any]) -> Packet | None:
    """Return the packet of an object's newest detection; None where it has none.

    Its short form leaves out the position of each source; that of the object stands in.

    Raises
    ------
    RejectedAlert
        If a detection has no time.
    """
    rows = lasair_object.get(SOURCES) or ()
    if any(row.get(TIME) is None for row in rows):
        raise RejectedAlert(RejectReason.MISSING_FIELD, f"a detection of Lasair's object has no {TIME}")
    seen = sorted(rows, key=lambda row: float(row[TIME]))
    if not seen:
        return None
    owner = lasair_object.get(OBJECT) or {}
    place = {"ra": owner.get("ra"), "dec": owner.get("dec", owner.get("decl"))}
    named = {"diaObjectId": owner.get("diaObjectId", lasair_object.get("diaObjectId"))}
    return lsst_packet(
        place | named | dict(seen[-1]), previous=seen[:-1], forced=lasair_object.get(FORCED) or ()
    )


def annotation_of(verdict: Verdict, *, object_id: int | str, topic: str) -> dict[str, Any]:
    """Return the annotation of a verdict, as `annotate_list` takes it."""
    return {
        "objectId": str(object_id),
        "topic": topic,
        "classification": _classification(verdict)[:CLASSIFICATION_MAX],
        "version": __version__[:VERSION_MAX],
        "explanation": _cut(verdict.explanation, EXPLANATION_MAX),
        "classdict": _classdict(verdict),
        "url": "",
    }


def _classification(verdict: Verdict) -> str:
    return WITHDRAWN if verdict.is_retraction else verdict.top_class or NO_CLASS


def _fetched(client: LasairClient, object_id: int | str) -> Packet:
    packet = packet_of_object(_answer("give the object", lambda: client.object(object_id, lite=False)))
    if packet is None:
        raise RejectedAlert(RejectReason.EMPTY, "Lasair has no detection of this object")
    return packet


def _answer(asked: str, ask: Callable[[], Any]) -> Any:
    """Return what Lasair's client answers; what it raises is its own, and that of the library beneath."""
    try:
        answer = ask()
    except Exception as error:
        raise _failure(asked, error) from error
    if isinstance(answer, Mapping) and FAILURE in answer:
        raise _failure(asked, answer[FAILURE])
    return answer


def _failure(asked: str, said: object) -> TransientError:
    return TransientError(f"Lasair fails to {asked}: {_cut(str(said), FAILURE_MAX)}")


def _classdict(verdict: Verdict) -> dict[str, Any]:
    """Return the numbers of a verdict; the probable classes first, as many as fit."""
    numbers: dict[str, Any] = {
        "anomaly_p_value": verdict.anomaly_p_value,
        "anomaly_score": verdict.anomaly_score,
        "calibration_n": verdict.calibration_n,
        "n_epochs": verdict.n_epochs,
        "source_context": verdict.source_context,
        "bundle_digest": verdict.bundle_digest,
        "verdict_id": verdict.verdict_id,
        "revision": str(verdict.revision),
    }
    for name, probability in sorted(verdict.class_probabilities.items(), key=lambda item: -item[1]):
        fuller = numbers | {name: probability}
        if len(json.dumps(fuller)) > CLASSDICT_MAX:
            break
        numbers = fuller
    return numbers


def _cut(text: str, length: int) -> str:
    """Return a text of at most so many characters, cut at a word.

    Examples
    --------
    >>> _cut("one two three", 9)
    'one two…'
    """
    return text if len(text) <= length else text[: length - 1].rpartition(" ")[0] + "…"
