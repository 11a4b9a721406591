# SPDX-License-Identifier: BSD-3-Clause
"""Every message gets one judgement, and a bad one costs itself only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from broker_plugin.codec.decoder import NO_PACKETS, DecodedBatch, Decoder, ReadPacket
from broker_plugin.codec.packets import read_container_file
from broker_plugin.codec.registry import SchemaRegistry
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.codec.writer_schema import WriterSchema
from broker_plugin.engine.encoders import FUSED
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import BundleError, RejectedAlert, RejectReason, TransientError
from broker_plugin.features.period import find_periods
from broker_plugin.pipeline.filter import AlertFilter, Judgement
from broker_plugin.pipeline.stages import StageTimes
from broker_plugin.records import Access, Alert, AlertBatch, Provenance
from broker_plugin.streams.base import Message
from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.registry import adapters

FROM_TEST = Provenance(topic="test")


def said(judgements: Sequence[Judgement]) -> list[object]:
    """What was judged, without the clock."""

    def of(verdict: Verdict) -> Verdict:
        return verdict._replace(emitted_at=verdict.received_at)

    return [[of(v) for v in j.verdicts] or j.rejection for j in judgements]


class PoisonedDecoder:
    """A decoder whose alerts at some offsets cannot be gathered into a batch: an unknown column."""

    def __init__(self, decoder: Decoder, offsets: set[int]) -> None:
        self._decoder = decoder
        self._offsets = offsets

    def decode(self, value: bytes, provenance: Provenance) -> list[Alert]:
        return [self._poisoned(alert) for alert in self._decoder.decode(value, provenance)]

    def decode_batch(
        self,
        values: Sequence[bytes],
        provenance: Sequence[Provenance],
        *,
        packets: Mapping[int, ReadPacket] = NO_PACKETS,
    ) -> DecodedBatch:
        return DecodedBatch.of([], [])

    def adapt(
        self, packet: Packet, provenance: Provenance, *, writer: WriterSchema | None = None
    ) -> list[Alert]:
        return [self._poisoned(alert) for alert in self._decoder.adapt(packet, provenance)]

    def access_in(self, value: bytes, packet: Packet | None = None) -> frozenset[Access] | None:
        return self._decoder.access_in(value, packet)

    def _poisoned(self, alert: Alert) -> Alert:
        bad = alert.provenance.offset in self._offsets
        return dataclasses.replace(alert, metadata={"no such column": 1.0}) if bad else alert


def on_one_partition(messages: Sequence[Message]) -> list[Message]:
    return [dataclasses.replace(m, partition=0, offset=n) for n, m in enumerate(messages)]


def test_every_message_has_one_judgement_in_order(
    alert_filter: AlertFilter, messages: list[Message], rng: np.random.Generator
) -> None:
    junk = [
        dataclasses.replace(m, value=value)
        for m, value in zip(
            messages, [rng.bytes(70_000), b"", messages[0].value[:-1], messages[1].value[:20]], strict=False
        )
    ]
    mixed = [m for pair in zip(messages, [*junk, *messages[4:]], strict=True) for m in pair]
    judgements = alert_filter.judge(mixed)
    assert [j.message for j in judgements] == mixed
    assert all(bool(j.verdicts) != (j.rejection is not None) for j in judgements)
    rejected = [j for j in judgements if j.rejection is not None]
    assert [j.message for j in rejected] == junk
    assert rejected[1].rejection is not None
    assert rejected[1].rejection.reason is RejectReason.EMPTY


def test_judgements_do_not_depend_on_the_company(alert_filter: AlertFilter, messages: list[Message]) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    together = alert_filter.judge(messages, received_at=at)
    alone = [alert_filter.judge([message], received_at=at)[0] for message in messages]
    assert said(together) == said(alone)


@pytest.mark.parametrize("offsets", [{0}, {7, 8}, {39}, set(range(0, 40, 3))])
def test_a_poisoned_alert_costs_itself_only(
    decoder: Decoder, scorer: Scorer, alert_filter: AlertFilter, messages: list[Message], offsets: set[int]
) -> None:
    batch = on_one_partition(messages)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    judgements = AlertFilter(PoisonedDecoder(decoder, offsets), scorer).judge(batch, received_at=at)
    assert {j.message.offset for j in judgements if j.rejection is not None} == offsets
    sound = said(alert_filter.judge(batch, received_at=at))
    assert said([j for j in judgements if j.rejection is None]) == [
        verdicts for offset, verdicts in enumerate(sound) if offset not in offsets
    ]


def test_what_spoils_scoring_may_be_shown_to_whom_its_message_may_and_quotes_nothing(
    decoder: Decoder, scorer: Scorer, messages: list[Message]
) -> None:
    judgements = AlertFilter(PoisonedDecoder(decoder, {0}), scorer).judge(on_one_partition(messages[:2]))
    rejection = judgements[0].rejection
    assert rejection is not None
    assert rejection.access == decoder.access_in(messages[0].value) == {Access.PUBLIC}
    assert "no such column" not in rejection.detail


Score = Callable[[NDArray[np.float32]], NDArray[np.float64]]


@pytest.mark.parametrize("offsets", [{2}, {0, 1, 2, 3}])
def test_an_alert_that_no_graph_gives_a_number_for_is_a_dead_letter(
    decoder: Decoder,
    scorer: Scorer,
    messages: list[Message],
    monkeypatch: pytest.MonkeyPatch,
    offsets: set[int],
) -> None:
    some = on_one_partition(messages[:4])
    bad = [decoder.decode(m.value, FROM_TEST)[0] for m in some if m.offset in offsets]
    batch = AlertBatch.from_alerts(bad)
    theirs = scorer._graphs.run(batch, find_periods(batch)).fusion.surprise

    def without_theirs(embeddings: NDArray[np.float32], *, score: Score) -> NDArray[np.float64]:
        hit = (embeddings[:, None] == theirs).all(axis=2).any(axis=1)  # (B,); a batch changes no bit
        return np.where(hit, np.nan, score(embeddings))

    of_fusion = [forests[FUSED] for forests in scorer._graphs._forests.values() if FUSED in forests]
    for forest in of_fusion:
        monkeypatch.setattr(forest, "score", partial(without_theirs, score=forest.score))
    judgements = AlertFilter(decoder, scorer).judge(some)
    assert {j.message.offset for j in judgements if j.rejection is not None} == offsets


def test_a_bundle_that_gives_no_number_for_any_alert_stops_the_process(
    decoder: Decoder, scorer: Scorer, messages: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    for forests in scorer._graphs._forests.values():
        for forest in forests.values():
            monkeypatch.setattr(forest, "score", lambda embeddings: np.full(len(embeddings), np.nan))
    with pytest.raises(BundleError, match="not finite"):
        AlertFilter(decoder, scorer).judge(on_one_partition(messages[:4]))


def test_a_failure_of_our_own_is_in_the_log_with_its_place_and_without_values(
    decoder: Decoder, scorer: Scorer, messages: list[Message]
) -> None:
    class ForgetfulScorer:
        def score(self, alerts: AlertBatch, **how: object) -> list[Verdict]:
            if len(alerts) > 2:
                raise KeyError("secret 42")
            return [{}["secret 42"]] if len(alerts) == 1 and how else []

    with capture_logs() as events:
        AlertFilter(decoder, ForgetfulScorer()).judge(on_one_partition(messages[:5])[-1:])
        AlertFilter(PoisonedDecoder(decoder, {0, 1}), scorer).judge(on_one_partition(messages[:5]))
    assert [(e["log_level"], e["event"], e["stage"], e["alerts"]) for e in events] == [
        ("warning", "alerts_failed", "score", 1),
        ("warning", "alerts_failed", "score", 2),
    ]
    assert {e["error"] for e in events} >= {"KeyError"}
    assert all(".py:" in e["where"] for e in events)
    assert "secret" not in repr(events)
    assert "no such column" not in repr(events)


def test_a_scorer_that_fails_on_everything_stops_the_process(
    decoder: Decoder, messages: list[Message]
) -> None:
    class BrokenScorer:
        def score(self, alerts: AlertBatch, **_: object) -> list[Verdict]:
            raise ValueError(f"cannot score {len(alerts)}")

    for some in (messages[:1], messages[:2], messages):
        with pytest.raises(ValueError, match="cannot score 1"):
            AlertFilter(decoder, BrokenScorer()).judge(on_one_partition(some))


def test_a_batch_of_poisoned_alerts_alone_stops_nothing(
    decoder: Decoder, scorer: Scorer, messages: list[Message]
) -> None:
    poisoned = AlertFilter(PoisonedDecoder(decoder, {0, 1}), scorer).judge(on_one_partition(messages[:2]))
    assert [judgement.rejection is None for judgement in poisoned] == [False, False]


def test_a_gap_in_a_decoder_costs_one_message(
    scorer: Scorer, decoder: Decoder, messages: list[Message]
) -> None:
    class LeakyDecoder:
        def decode(self, value: bytes, provenance: Provenance) -> list[Alert]:
            if provenance.offset == 1:
                raise ValueError("secret 42")
            return decoder.decode(value, provenance)

        def decode_batch(
            self,
            values: Sequence[bytes],
            provenance: Sequence[Provenance],
            *,
            packets: Mapping[int, ReadPacket] = NO_PACKETS,
        ) -> DecodedBatch:
            raise ValueError("secret 43")

        def adapt(
            self, packet: Packet, provenance: Provenance, *, writer: WriterSchema | None = None
        ) -> list[Alert]:
            return decoder.adapt(packet, provenance)

        def access_in(self, value: bytes, packet: Packet | None = None) -> frozenset[Access] | None:
            return decoder.access_in(value, packet)

    judgements = AlertFilter(LeakyDecoder(), scorer).judge(on_one_partition(messages[:3]))
    assert [judgement.rejection is None for judgement in judgements] == [True, False, True]
    rejection = judgements[1].rejection
    assert rejection is not None
    assert rejection.access is None
    assert "42" not in str(rejection)


def test_a_silent_registry_is_transient_and_judges_nothing(scorer: Scorer, messages: list[Message]) -> None:
    nobody = SchemaRegistry("http://127.0.0.1:9", request_s=0.2)
    decoder = Decoder(schemas=SchemaStore(nobody, installed=False), adapters=adapters())
    framed = dataclasses.replace(messages[0], value=b"\x00\x00\x00\x03\x84" + bytes(100))
    with pytest.raises(TransientError):
        AlertFilter(decoder, scorer).judge([messages[1], framed])


def test_packets_of_an_archive_are_judged_like_their_bytes(
    alert_filter: AlertFilter, data_dir: Path, messages: list[Message]
) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    paths = sorted((data_dir / "alerts/ztf/native").glob("*.avro"))[: len(messages)]
    decoded = [
        dataclasses.replace(message, value=b"", packet=packet)
        for message, path in zip(messages, paths, strict=True)
        for packet in read_container_file(path)
    ]
    assert said(alert_filter.judge(decoded, received_at=at)) == said(
        alert_filter.judge(messages, received_at=at)
    )


def test_a_defect_that_the_source_found_is_the_rejection(
    alert_filter: AlertFilter, messages: list[Message]
) -> None:
    defect = RejectedAlert(RejectReason.UNDECODABLE, "a cut archive")
    (judgement,) = alert_filter.judge([dataclasses.replace(messages[0], defect=defect)])
    assert judgement.rejection is defect


def test_verdicts_have_the_tense_and_the_times_are_noted(
    decoder: Decoder, scorer: Scorer, messages: list[Message]
) -> None:
    times = StageTimes()
    judgements = AlertFilter(decoder, scorer, tense=Tense.ARCHIVAL).judge(messages, times=times)
    assert {v.tense for j in judgements for v in j.verdicts} == {Tense.ARCHIVAL}
    assert set(times) == {"decode", "score"}
    assert all(seconds > 0 for seconds in times.values())


def test_messages_judged_together_are_judged_as_alone(
    alert_filter: AlertFilter,
    decoder: Decoder,
    scorer: Scorer,
    messages: list[Message],
    rng: np.random.Generator,
) -> None:
    class OneByOne(PoisonedDecoder):
        """Decodes nothing together."""

    at = datetime(2026, 1, 1, tzinfo=UTC)
    junk = dataclasses.replace(messages[0], value=rng.bytes(500))
    mixed = on_one_partition([*messages[:3], junk, *messages[3:]])
    together = said(alert_filter.judge(mixed, received_at=at))
    alone = said(AlertFilter(OneByOne(decoder, set()), scorer).judge(mixed, received_at=at))
    assert str(together) == str(alone)
    assert sum(isinstance(found, list) for found in together) == len(messages)
