# SPDX-License-Identifier: BSD-3-Clause
"""Messages to judgements: of each message its verdicts, or why it cannot have any.

Pure but for time: no stream, no retry. One bad message costs itself only, whether it fails to decode or
spoils the scoring of the batch that it is in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from traceback import extract_tb
from typing import Protocol

import numpy as np
import structlog

from broker_plugin.codec.decoder import NO_PACKETS, DecodedBatch, ReadPacket
from broker_plugin.codec.verdict import Tense, Verdict
from broker_plugin.codec.writer_schema import WriterSchema
from broker_plugin.engine.rehearsal import PLAIN_ALERT
from broker_plugin.errors import NotFiniteError, RejectedAlert, RejectReason
from broker_plugin.pipeline.decoding import DecodedMessages, join_rest
from broker_plugin.pipeline.stages import StageTimes
from broker_plugin.records import Access, Alert, AlertBatch, Provenance, QualityFlag
from broker_plugin.streams.base import Message
from broker_plugin.surveys.base import Packet

__all__ = ["AlertDecoder", "AlertFilter", "AlertMemory", "AlertScorer", "Judgement"]

log = structlog.get_logger(__name__)

DATA_ERRORS = (
    RejectedAlert,
    NotFiniteError,
    ArithmeticError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What an impossible value in an alert makes Python, numpy or a graph raise. Anything else is no alert's
fault."""

PACKAGE = Path(__file__).parents[1]


class AlertDecoder(Protocol):
    """Turns messages into alerts: `broker_plugin.codec.decoder.Decoder`."""

    def decode(self, value: bytes, provenance: Provenance) -> list[Alert]:
        """Return the alerts of one message."""
        ...

    def decode_batch(
        self,
        values: Sequence[bytes],
        provenance: Sequence[Provenance],
        *,
        packets: Mapping[int, ReadPacket] = NO_PACKETS,
    ) -> DecodedBatch:
        """Return the alerts of those messages that can be decoded together."""
        ...

    def adapt(
        self, packet: Packet, provenance: Provenance, *, writer: WriterSchema | None = None
    ) -> list[Alert]:
        """Return the alerts of a packet that is decoded already."""
        ...

    def access_in(self, value: bytes, packet: Packet | None = None) -> frozenset[Access] | None:
        """Return every access class that occurs in a message; None if unknown."""
        ...


class AlertScorer(Protocol):
    """Turns alerts into verdicts: `broker_plugin.engine.scorer.Scorer`."""

    def score(
        self, alerts: AlertBatch, *, tense: Tense = ..., received_at: datetime | None = ...
    ) -> list[Verdict]:
        """Return one verdict for each alert, in order."""
        ...


class AlertMemory(Protocol):
    """Joins alerts to what is known of their objects: `broker_plugin.pipeline.recollection.Recollection`."""

    def recall(self, alerts: Sequence[Alert]) -> list[Alert]:
        """Return the alerts with what is known, in order."""
        ...

    def remember(self, alerts: Sequence[Alert], verdicts: Sequence[Verdict]) -> None:
        """Keep what alerts brought, of those that were recalled last, and what was said of them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One message and what became of it: its verdicts, or a rejection and no verdict.

    Parameters
    ----------
    alerts
        What the verdicts were made from, in their order, where the filter keeps it.
    """

    message: Message
    verdicts: tuple[Verdict, ...] = ()
    rejection: RejectedAlert | None = None
    alerts: tuple[Alert, ...] = ()


class AlertFilter:
    """Decodes messages, scores all their alerts in one batch and hands back a judgement for each message.

    Parameters
    ----------
    decoder, scorer
        The two halves of the work.
    tense
        What the verdicts say of their time.
    memory
        What is known of the objects beyond their packets; by default nothing.
    keep_alerts
        Hand the alerts on with their judgements, for candidates.
    keep_embeddings
        Leave the scorer's embeddings in the verdicts; else they are for the memory alone.
    """

    def __init__(
        self,
        decoder: AlertDecoder,
        scorer: AlertScorer,
        *,
        tense: Tense = Tense.CURRENT,
        memory: AlertMemory | None = None,
        keep_alerts: bool = False,
        keep_embeddings: bool = True,
    ) -> None:
        self._keep_embeddings = keep_embeddings
        self._keep_alerts = keep_alerts
        self._decoder = decoder
        self._scorer = scorer
        self._tense = tense
        self._memory = memory
        self._gaps: Counter[tuple[str, str, str]] = Counter()

    def judge(
        self,
        messages: Sequence[Message],
        *,
        received_at: datetime | None = None,
        times: StageTimes | None = None,
    ) -> list[Judgement]:
        """Return one judgement for each message, in order.

        Parameters
        ----------
        messages
            What came in.
        received_at
            When; now by default.
        times
            Where to note the time that each stage took.

        Raises
        ------
        TransientError
            If something outside is needed and away; nothing has been judged.
        StreamPausedError
            If going on would reject a night's alerts; nothing has been judged.
        """
        received_at = received_at or datetime.now(UTC)
        times = StageTimes() if times is None else times
        with times.of("decode"):
            decoded = self._decoded(messages)
        judged = iter(self._judged(decoded, received_at, times))
        self._report_gaps()
        judgements = []
        for message, found in zip(messages, decoded.outcomes, strict=True):
            if isinstance(found, RejectedAlert):
                judgements.append(Judgement(message=message, rejection=found))
            else:
                seen, outcomes = zip(*(next(judged) for _ in range(found)), strict=True)
                judgements.append(self._judgement(message, outcomes, seen if self._keep_alerts else ()))
        return judgements

    def _decoded(self, messages: Sequence[Message]) -> DecodedMessages:
        values = [b"" if message.defect is not None else message.value for message in messages]
        packets = {
            number: ReadPacket(message.packet, message.writer)
            for number, message in enumerate(messages)
            if message.packet is not None and message.defect is None
        }
        try:
            together = self._decoder.decode_batch(
                values, [_provenance(message) for message in messages], packets=packets
            )
        except DATA_ERRORS as error:
            # As below; one by one it costs but the message that it is in.
            self._note_gap("decode", error)
            together = DecodedBatch.of([], [])
        return join_rest(together, len(messages), lambda number: self._decode(messages[number]))

    def _decode(self, message: Message) -> list[Alert] | RejectedAlert:
        if message.defect is not None:
            return message.defect
        provenance = _provenance(message)
        try:
            if message.packet is not None:
                return self._decoder.adapt(message.packet, provenance, writer=message.writer)
            alerts = self._decoder.decode(message.value, provenance)
        except RejectedAlert as rejection:
            return _bare(rejection)
        except DATA_ERRORS as error:
            # Adapters raise nothing else by their contract; a gap in that is one dead letter, not an outage.
            self._note_gap("decode", error)
            return RejectedAlert(RejectReason.INVALID_VALUE, f"decoding raised {type(error).__name__}")
        return alerts or RejectedAlert(RejectReason.EMPTY, "the message holds no alert", access=frozenset())

    def _judged(
        self, decoded: DecodedMessages, received_at: datetime, times: StageTimes
    ) -> list[tuple[Alert | None, Verdict | RejectedAlert]]:
        """Return each alert as it was judged, with all that was known of its object, and the outcome.

        An alert is None where nobody asked to keep it.
        """
        if self._memory is None:
            with times.of("score"):
                outcomes = self._score(_gathered(decoded), received_at)
            kept = decoded.alerts() if self._keep_alerts else [None] * len(outcomes)
            return list(zip(kept, outcomes, strict=True))
        with times.of("history"):
            alerts = decoded.alerts()
            recalled = self._memory.recall(alerts)
        with times.of("score"):
            outcomes = self._score(recalled, received_at)
            spoilt = [
                row
                for row, outcome in enumerate(outcomes)
                if isinstance(outcome, RejectedAlert) and recalled[row] is not alerts[row]
            ]
            for row in spoilt:
                recalled[row] = _by_packet(alerts[row])
            by_packet = self._score([recalled[row] for row in spoilt], received_at)
            for row, outcome in zip(spoilt, by_packet, strict=True):
                outcomes[row] = outcome
        with times.of("history"):
            # What cannot be scored must not spoil the alerts to come.
            judged = [row for row, outcome in enumerate(outcomes) if isinstance(outcome, Verdict)]
            verdicts = [outcome for outcome in outcomes if isinstance(outcome, Verdict)]
            self._memory.remember([alerts[row] for row in judged], verdicts)
        if not self._keep_embeddings:
            outcomes = [
                each._replace(embedding=None) if isinstance(each, Verdict) else each for each in outcomes
            ]
        return list(zip(recalled, outcomes, strict=True))

    def _score(
        self, alerts: AlertBatch | list[Alert], received_at: datetime
    ) -> list[Verdict | RejectedAlert]:
        outcomes = self._bisect(alerts, received_at)
        if outcomes and all(isinstance(outcome, RejectedAlert) for outcome in outcomes):
            # Either these alerts are at fault or the scorer is, which dead-lettering the stream would hide.
            self._scorer.score(AlertBatch.from_alerts([PLAIN_ALERT]))
        return outcomes

    def _bisect(
        self, alerts: AlertBatch | list[Alert], received_at: datetime
    ) -> list[Verdict | RejectedAlert]:
        if not len(alerts):
            return []
        try:
            batch = alerts if isinstance(alerts, AlertBatch) else AlertBatch.from_alerts(alerts)
            return [*self._scorer.score(batch, tense=self._tense, received_at=received_at)]
        except DATA_ERRORS as error:
            if len(alerts) == 1:
                self._note_gap("score", error)
                return [_rejected(error)]
        return [outcome for half in _halves(alerts) for outcome in self._bisect(half, received_at)]

    def _judgement(
        self,
        message: Message,
        outcomes: Sequence[Verdict | RejectedAlert],
        alerts: Sequence[Alert],
    ) -> Judgement:
        for outcome in outcomes:
            if isinstance(outcome, RejectedAlert):
                return Judgement(message=message, rejection=self._with_rights(outcome, message))
        return Judgement(
            message=message,
            verdicts=tuple(outcome for outcome in outcomes if isinstance(outcome, Verdict)),
            alerts=tuple(alerts),
        )

    def _with_rights(self, rejection: RejectedAlert, message: Message) -> RejectedAlert:
        """Return a rejection by the scorer, which knows no packet, with all the rights in the message."""
        access = self._decoder.access_in(message.value, message.packet)
        return rejection.with_access(access)

    def _note_gap(self, stage: str, error: Exception) -> None:
        if not isinstance(error, RejectedAlert):
            self._gaps[stage, type(error).__name__, _place(error)] += 1

    def _report_gaps(self) -> None:
        gaps, self._gaps = self._gaps, Counter()
        for (stage, error, where), count in gaps.items():
            # Not the text: it may quote a value.
            log.warning("alerts_failed", stage=stage, error=error, where=where, alerts=count)


def _by_packet(alert: Alert) -> Alert:
    """Return an alert that says that what was known of its object had to be left out."""
    flags = {*alert.flags, QualityFlag.STORE_LEFT_OUT}
    return replace(alert, flags=tuple(flag for flag in QualityFlag if flag in flags))


def _provenance(message: Message) -> Provenance:
    return Provenance(
        topic=message.topic, partition=message.partition, offset=message.offset, schema=message.schema
    )


def _gathered(decoded: DecodedMessages) -> AlertBatch | list[Alert]:
    """Return the alerts as a batch, or one by one where one of them cannot be part of any."""
    try:
        return decoded.batch()
    except DATA_ERRORS:
        return decoded.alerts()


def _halves(alerts: AlertBatch | list[Alert]) -> list[AlertBatch | list[Alert]]:
    middle = len(alerts) // 2
    if isinstance(alerts, AlertBatch):
        rows = np.arange(len(alerts))
        return [alerts.take(rows[:middle]), alerts.take(rows[middle:])]
    return [alerts[:middle], alerts[middle:]]


def _place(error: Exception) -> str:
    """Return the line of our code that an error came from."""
    frames = extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)]
    frame = (ours or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"


def _bare(rejection: RejectedAlert) -> RejectedAlert:
    """Return a rejection without its traceback, which would keep all that was decoded until it is sent."""
    return rejection.with_access(rejection.access)


def _rejected(error: Exception) -> RejectedAlert:
    if isinstance(error, RejectedAlert):
        return _bare(error)
    # Not the error's text, which may quote a value.
    return RejectedAlert(RejectReason.INVALID_VALUE, f"scoring raised {type(error).__name__}")
