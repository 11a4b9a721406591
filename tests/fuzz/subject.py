# SPDX-License-Identifier: BSD-3-Clause
"""The law that mutants are held to, whatever the decoder: verdicts with finite numbers, or a rejection.

The subject is an alert filter as `run` has it. Any decoder with the interface of
`broker_plugin.codec.decoder.Decoder` can take the place of its own: name a function that makes one from a
folder of schemas, `--decoder package.module:function`.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from broker_plugin.codec.decoder import NO_PACKETS, DecodedBatch, Decoder, ReadPacket
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.verdict import Tense, Verdict, encode_datum, to_json
from broker_plugin.codec.writer_schema import WriterSchema
from broker_plugin.engine.scorer import Scorer
from broker_plugin.errors import RejectedAlert
from broker_plugin.pipeline.filter import AlertDecoder, AlertFilter, AlertScorer
from broker_plugin.records import Access, Alert, AlertBatch, Provenance
from broker_plugin.streams.base import Message
from broker_plugin.surveys.base import Packet
from broker_plugin.surveys.registry import adapters
from tests.fuzz.mutants import Mutant

__all__ = ["Finding", "Subject", "default_decoder", "defect", "make_subject"]

VERDICT = "verdict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A mutant that broke the law."""

    number: int
    kind: str
    seed: str
    what: str


@dataclass(slots=True)
class _Watched:
    """A decoder and a scorer that pass everything on and remember what was raised but no rejection."""

    decoder: AlertDecoder
    scorer: AlertScorer
    escapes: list[str] = field(default_factory=list)

    def decode(self, value: bytes, provenance: Provenance) -> list[Alert]:
        return self._watch(lambda: self.decoder.decode(value, provenance))

    def decode_batch(
        self,
        values: Sequence[bytes],
        provenance: Sequence[Provenance],
        *,
        packets: Mapping[int, ReadPacket] = NO_PACKETS,
    ) -> DecodedBatch:
        return self._watch(lambda: self.decoder.decode_batch(values, provenance, packets=packets))

    def adapt(
        self, packet: Packet, provenance: Provenance, *, writer: WriterSchema | None = None
    ) -> list[Alert]:
        return self._watch(lambda: self.decoder.adapt(packet, provenance, writer=writer))

    def access_in(self, value: bytes, packet: Packet | None = None) -> frozenset[Access] | None:
        return self._watch(lambda: self.decoder.access_in(value, packet))

    def score(
        self, alerts: AlertBatch, *, tense: Tense = Tense.TEST, received_at: datetime | None = None
    ) -> list[Verdict]:
        return self._watch(lambda: self.scorer.score(alerts, tense=tense, received_at=received_at))

    def _watch(self, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except RejectedAlert:
            raise
        except BaseException as error:
            self.escapes.append(f"{type(error).__name__}: {error}"[:300])
            raise


class Subject:
    """A filter under test.

    Parameters
    ----------
    decoder, scorer
        Its halves.
    """

    def __init__(self, decoder: AlertDecoder, scorer: AlertScorer) -> None:
        self._watched = _Watched(decoder, scorer)
        self._filter = AlertFilter(self._watched, self._watched, tense=Tense.TEST)

    def judge(self, mutants: Sequence[Mutant], outcomes: Counter[str]) -> list[Finding]:
        """Judge mutants in one batch, count their outcomes and return what broke the law."""
        messages = [
            Message(topic="fuzz", partition=0, offset=each.number, value=each.value) for each in mutants
        ]
        self._watched.escapes.clear()
        try:
            judgements = self._filter.judge(messages)
        except Exception as error:
            return self._narrowed(mutants, outcomes, f"the filter raised {type(error).__name__}: {error}")
        if self._watched.escapes:
            return self._narrowed(mutants, outcomes, self._watched.escapes[0])
        findings = []
        for each, judgement in zip(mutants, judgements, strict=True):
            if judgement.rejection is not None:
                outcomes[str(judgement.rejection.reason)] += 1
                continue
            outcomes[VERDICT] += 1
            findings += [_finding(each, what) for what in map(defect, judgement.verdicts) if what]
        return findings

    def _narrowed(self, mutants: Sequence[Mutant], outcomes: Counter[str], what: str) -> list[Finding]:
        if len(mutants) == 1:
            outcomes["broke the law"] += 1
            return [_finding(mutants[0], what)]
        found = [finding for each in mutants for finding in self.judge([each], outcomes)]
        # What none of them does alone, they do together.
        return found or [_finding(mutants[0], f"in a batch of {len(mutants)} only: {what}")]


def default_decoder(schemas: Path) -> AlertDecoder:
    """Return the decoder of the service, for all surveys."""
    return Decoder(schemas=SchemaStore(None, [schemas]), adapters=adapters())


def make_subject(schemas: Path, decoder: str = "") -> Subject:
    """Return the filter of the service with the default bundle on the CPU.

    Parameters
    ----------
    schemas
        Folder of the schemas of framed messages.
    decoder
        `package.module:function`, where it is not the service's own.
    """
    make: Callable[[Path], AlertDecoder] = default_decoder
    if decoder:
        module, _, name = decoder.partition(":")
        make = getattr(importlib.import_module(module), name)
    return Subject(make(schemas), Scorer.open("default", device="cpu"))


def defect(verdict: Verdict) -> str:
    """Return what is wrong with a verdict: it must be sound JSON and sound Avro."""
    try:
        to_json(verdict)
        encode_datum(verdict)
    except Exception as error:
        return f"a verdict that cannot be written: {type(error).__name__}: {error}"
    return ""


def _finding(mutant: Mutant, what: str) -> Finding:
    return Finding(number=mutant.number, kind=mutant.kind, seed=mutant.seed, what=what)
