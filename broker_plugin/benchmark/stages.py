# SPDX-License-Identifier: BSD-3-Clause
"""What each stage from bytes to encoded verdicts takes, on one core."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from broker_plugin.benchmark.measuring import clock_of, rounds
from broker_plugin.benchmark.whole_way import DEAD_LETTERS, VERDICTS, messages_of
from broker_plugin.codec.bulk import BulkReader
from broker_plugin.codec.decoder import Decoder
from broker_plugin.codec.limits import DEFAULT_LIMITS
from broker_plugin.codec.schemas import SchemaStore
from broker_plugin.codec.verdict import Tense
from broker_plugin.engine.encoders import Encoder
from broker_plugin.engine.judgement import Judge
from broker_plugin.engine.scorer import Scorer
from broker_plugin.engine.scores import Graphs
from broker_plugin.features.base import build_modality
from broker_plugin.features.period import find_periods
from broker_plugin.pipeline.dead_letters import DeadLetters
from broker_plugin.pipeline.filter import AlertFilter
from broker_plugin.pipeline.outbox import Outbox
from broker_plugin.records import Provenance
from broker_plugin.surveys.registry import adapters

__all__ = ["STAGES", "WHOLE", "Stages"]

STAGES = {
    "decode": "bytes to columns",
    "gather": "columns to a batch of alerts: units, sentinels, access",
    "periods": "search for periods, nothing known before",
    "tokens": "tokens of every modality",
    "encoders": "the encoders' graphs",
    "heads_forests": "fusion, classes, neighbours, isolation forests",
    "judge": "calibration, conformal sets, words: the verdicts",
    "encode": "verdicts to Avro messages with their headers",
}
"""The stages in their order, and what each does."""

WHOLE = "whole"
"""The same work in one go, as a check on the sum of its parts."""


class Stages:
    """The stages of one bundle on one device, each to be timed by itself.

    Parameters
    ----------
    scorer
        What scores.
    schemas
        Directory of the schemas of framed messages.
    """

    def __init__(self, scorer: Scorer, schemas: Path) -> None:
        known, store = adapters(), SchemaStore(directories=[schemas])
        bundle, choice = scorer.bundle, scorer.provider
        self._scorer = scorer
        self._reader = BulkReader(schema_of=store.writer_schema, adapters=known, limits=DEFAULT_LIMITS)
        self._decoder = Decoder(schemas=store, adapters=known)
        self._graphs = Graphs(bundle, choice, threads=1)
        models = bundle.manifest.modalities
        self._modalities = [build_modality(model.name, model.spec) for model in models]
        self._encoders = [Encoder(bundle, model, choice, threads=1) for model in models]
        self._judge = Judge(bundle, choice, embeddings=False)
        self._filter = AlertFilter(self._decoder, scorer)
        self._outbox = Outbox(VERDICTS, DeadLetters(topic=DEAD_LETTERS))

    def measure(self, values: Sequence[bytes], *, repeats: int, least_s: float) -> dict[str, Any]:
        """Return microseconds of an alert, alerts a second and share of the whole, stage by stage.

        A stage that has no door of its own is what its surroundings take less what its neighbours take, in
        the same round.

        Parameters
        ----------
        values
            Messages, one batch of them.
        repeats, least_s
            Rounds over all stages, and how long each is at work in one.
        """
        messages, places = messages_of(values), [Provenance(topic="alerts")] * len(values)
        batch = self._decoder.decode_batch(values, places).alerts
        periods = find_periods(batch)
        tokens = [modality.tokens(batch, periods) for modality in self._modalities]
        scores = self._graphs.run(batch, periods)
        judgements = self._filter.judge(messages)
        now = datetime.now(UTC)
        seconds = rounds(
            {
                "decode": lambda: list(self._reader.read(values)),
                "gather": lambda: self._decoder.decode_batch(values, places),
                "periods": lambda: find_periods(batch),
                "tokens": lambda: [each.tokens(batch, periods) for each in self._modalities],
                "encoders": lambda: [e.encode(p) for e, p in zip(self._encoders, tokens, strict=True)],
                "heads_forests": lambda: self._graphs.run(batch, periods),
                "judge": lambda: self._judge.verdicts(
                    batch, periods, scores, tense=Tense.CURRENT, received_at=now, emitted_at=now
                ),
                "encode": lambda: self._outbox.pack(judgements),
                WHOLE: lambda: self._outbox.pack(self._filter.judge(messages)),
            },
            repeats=repeats,
            least_s=least_s,
            clock=clock_of(self._scorer.provider),
        )
        seconds["gather"] -= seconds["decode"]
        seconds["heads_forests"] -= seconds["tokens"] + seconds["encoders"]
        return _table(
            {stage: max(float(np.median(each)), 0.0) for stage, each in seconds.items()}, len(values)
        )


def _table(seconds: dict[str, float], n: int) -> dict[str, Any]:
    total_s = sum(seconds[stage] for stage in STAGES)
    return {
        stage: {
            "us_per_alert": round(1e6 * each / n, 2),
            "alerts_per_cpu_s": round(n / each, 1) if each > 0 else None,
            "share": round(each / total_s, 4) if stage != WHOLE else None,
        }
        for stage, each in seconds.items()
    }
