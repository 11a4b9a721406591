# SPDX-License-Identifier: BSD-3-Clause
"""What Lasair fails to do costs the objects that it concerns, and is told in its own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from broker_plugin.brokers.lasair import annotate
from broker_plugin.brokers.scoring import PacketScorer
from broker_plugin.errors import RejectedAlert, TransientError
from tests.broker_plugin.brokers.sample import lsst_packets, rows

GOOD, OTHER = 1, 2


class Client:
    """Answers as Lasair's client does: with objects, with an error, or by raising one."""

    def __init__(self, objects: Mapping[int, Any], *, taken: Any = None) -> None:
        self.objects = objects
        self.taken = {"status": "success"} if taken is None else taken
        self.annotated: list[str] = []

    def object(self, object_id: Any, lite: bool = True, lasair_added: bool = True) -> Mapping[str, Any]:
        return _given(self.objects[object_id])  # type: ignore[no-any-return]

    def annotate_list(self, annotations: Sequence[Mapping[str, Any]]) -> Any:
        answer = _given(self.taken)
        self.annotated += [each["objectId"] for each in annotations]
        return answer


def _given(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


@pytest.fixture(scope="module")
def scorer() -> PacketScorer:
    return PacketScorer.open("default", device="cpu")


@pytest.fixture(scope="module")
def good(data_dir: Path) -> dict[str, Any]:
    packet = next(each for each in lsst_packets(data_dir) if each["diaObject"])
    place = {name: packet["diaSource"][name] for name in ("ra", "dec")}
    return {
        "diaObject": {"diaObjectId": GOOD, **place},
        "diaSourcesList": [packet["diaSource"], *rows(packet, "prvDiaSources")],
    }


@pytest.mark.parametrize(
    ("answer", "kind", "why"),
    [
        ({"error": "Request limit exceeded"}, TransientError, "give the object: Request limit exceeded"),
        (RuntimeError("Internal Server Error"), TransientError, "give the object: Internal Server Error"),
        (ConnectionError("refused"), TransientError, "refused"),
        ({"error": "word " * 1000}, TransientError, "word…"),
        ({"diaSourcesList": []}, RejectedAlert, "no detection"),
        ({"diaSourcesList": [{"ra": 1.0}]}, RejectedAlert, "no midpointMjdTai"),
    ],
)
def test_an_object_that_cannot_be_had_costs_itself_alone(
    scorer: PacketScorer, good: dict[str, Any], answer: Any, kind: type[Exception], why: str
) -> None:
    client = Client({OTHER: answer, GOOD: good})
    refused = annotate(client, [OTHER, GOOD], topic="astrom3", scorer=scorer)
    assert client.annotated == [str(GOOD)]
    assert list(refused) == [OTHER]
    assert type(refused[OTHER]) is kind
    assert why in str(refused[OTHER])
    assert len(str(refused[OTHER])) < 400


@pytest.mark.parametrize("failure", [{"error": "no such topic"}, RuntimeError("no such topic")])
def test_annotations_that_lasair_does_not_take_are_told_by_object(
    scorer: PacketScorer, good: dict[str, Any], failure: Any
) -> None:
    empty: dict[str, Any] = {}
    refused = annotate(
        Client({GOOD: good, OTHER: empty}, taken=failure), [GOOD, OTHER], topic="t", scorer=scorer
    )
    assert isinstance(refused[OTHER], RejectedAlert)
    assert isinstance(refused[GOOD], TransientError)
    assert "take the annotation: no such topic" in str(refused[GOOD])
