# SPDX-License-Identifier: BSD-3-Clause
"""What the service counts and measures, for Prometheus. Labels come from closed sets only.

The page `deploy/docs/metrics.md` lists all of it, and how to ask for rates and delays.
"""

from __future__ import annotations

import re
import time
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from broker_plugin import __version__
from broker_plugin.codec.verdict import Verdict
from broker_plugin.errors import PauseReason, RejectReason, StreamPausedError
from broker_plugin.pipeline.monitor import BatchOutcome, QuietMonitor
from broker_plugin.pipeline.stages import RETRIED, STAGES
from broker_plugin.records import SourceContext
from broker_plugin.service.gpu_metrics import GpuCollector
from broker_plugin.taxonomy import CLASSES

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

STAGE_BUCKETS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Half decades from the decoding of one alert to a wait for a broker that is away."""

BATCH_BUCKETS = (1, 4, 16, 64, 256, 1024, 4096)

FILL_BUCKETS = (0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
"""A stream that is slower than the service fills hundredths; a backlog fills all."""

LATENCY_BUCKETS_S = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Up to the minute within which Rubin sends an alert out, and beyond for a backlog."""

END_TO_END_BUCKETS_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 43_200.0, 172_800.0)
"""Up to two nights of backlog."""

P_VALUE_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Fine where candidates are chosen, tenths elsewhere: p-values of ordinary objects fill those evenly."""

NO_CLASS, OTHER = "none", "other"
"""Labels for a source that the classes do not describe, and for what is in none of the closed sets."""


class Metrics(QuietMonitor):
    """Counters and histograms in a registry of their own, fed by the pipeline.

    Parameters
    ----------
    survey
        Label of what belongs to one survey.
    topics
        The input topics as they were set, each a name or a pattern: the label of the lag. Nightly topics come
        and go, and would make a label of each night.
    batch_max
        Most messages of a batch.
    """

    def __init__(self, survey: str, *, topics: Sequence[str] = (), batch_max: int = 256) -> None:
        self.registry = CollectorRegistry()
        self._survey = survey
        self._topics = tuple(topics)
        self._batch_max = batch_max
        prefix, registry = "broker_plugin", self.registry
        self._messages = Counter(
            f"{prefix}_messages_total",
            "Messages that are done, by what became of them: verdict or dead_letter.",
            ("survey", "outcome"),
            registry=registry,
        )
        self._verdicts = Counter(
            f"{prefix}_verdicts_total", "Verdicts acknowledged by the output.", ("survey",), registry=registry
        )
        self._classes = Counter(
            f"{prefix}_class_verdicts_total",
            "The same by top class (none where classes do not apply) and source context.",
            ("class", "context"),
            registry=registry,
        )
        self._p_values = Histogram(
            f"{prefix}_anomaly_p_value_ratio",
            "Anomaly p-values, by source context. Of ordinary objects a tenth lies in each tenth.",
            ("context",),
            buckets=P_VALUE_BUCKETS,
            registry=registry,
        )
        self._dead_letters = Counter(
            f"{prefix}_dead_letters_total", "Dead letters, by reason.", ("reason",), registry=registry
        )
        self._stage_seconds = Histogram(
            f"{prefix}_stage_seconds",
            "Time that each stage of a batch took, with its retries.",
            ("stage",),
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._stage_messages = Counter(
            f"{prefix}_stage_messages_total",
            "Messages that went through each stage; over the stage's seconds, its rate.",
            ("stage",),
            registry=registry,
        )
        self._batch_alerts = Histogram(
            f"{prefix}_batch_alerts", "Alerts in a batch.", buckets=BATCH_BUCKETS, registry=registry
        )
        self._batch_fill = Histogram(
            f"{prefix}_batch_fill_ratio",
            "Messages of a batch over the most that it may hold.",
            buckets=FILL_BUCKETS,
            registry=registry,
        )
        self._latency_seconds = Histogram(
            f"{prefix}_latency_seconds",
            "From the poll of a batch's oldest message to its commit.",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._end_to_end_seconds = Histogram(
            f"{prefix}_end_to_end_seconds",
            "From a message's own Kafka timestamp to the acknowledgement of its verdict or dead letter.",
            ("survey",),
            buckets=END_TO_END_BUCKETS_S,
            registry=registry,
        )
        self._retries = Counter(
            f"{prefix}_retries_total",
            "Attempts that failed for a passing reason, by stage.",
            ("stage",),
            registry=registry,
        )
        self._lag = Gauge(
            f"{prefix}_lag_messages",
            "Messages of our partitions not yet polled, by the entry of --input that their topic belongs to.",
            ("survey", "topics"),
            registry=registry,
        )
        self._last_delivery = Gauge(
            f"{prefix}_last_delivery_timestamp_seconds",
            "When the last batch was done, in Unix time; 0 before the first.",
            registry=registry,
        )
        self._paused = Gauge(
            f"{prefix}_paused",
            "1 while the stream is paused, uncommitted, until somebody acts; by reason.",
            ("reason",),
            registry=registry,
        )
        Gauge(f"{prefix}_info", "What runs here.", ("version",), registry=registry).labels(__version__).set(1)
        ProcessCollector(namespace=prefix, registry=registry)
        registry.register(GpuCollector(prefix))
        self._show_zeros()

    def lagging(self, by_topic: Mapping[str, int]) -> None:
        """Note how many messages lie ahead."""
        lags = Tally(dict.fromkeys(self._topics, 0))
        for topic, messages in by_topic.items():
            lags[self._entry(topic)] += messages
        for entry, messages in lags.items():
            self._lag.labels(self._survey, entry).set(messages)

    def retried(self, stage: str) -> None:
        """Count a failed attempt."""
        self._retries.labels(stage).inc()

    def paused(self, pause: StreamPausedError | None) -> None:
        """Note whether the stream is paused, and for what."""
        for reason in PauseReason:
            self._paused.labels(str(reason)).set(pause is not None and pause.reason is reason)

    def delivered(self, outcome: BatchOutcome) -> None:
        """Count a batch."""
        verdicts, rejections = outcome.verdicts, outcome.rejections
        rejected, messages = rejections.total(), len(outcome.judgements)
        self._messages.labels(self._survey, "verdict").inc(messages - rejected)
        self._messages.labels(self._survey, "dead_letter").inc(rejected)
        for reason, number in rejections.items():
            self._dead_letters.labels(reason).inc(number)
        for stage, seconds in outcome.times.items():
            self._stage_seconds.labels(stage).observe(seconds)
            self._stage_messages.labels(stage).inc(messages)
        self._batch_alerts.observe(len(verdicts))
        self._batch_fill.observe(messages / self._batch_max)
        self._note_delays(outcome)
        self._note_verdicts(verdicts)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)

    def _note_delays(self, outcome: BatchOutcome) -> None:
        self._latency_seconds.observe((outcome.delivered_at - outcome.received_at).total_seconds())
        end_to_end, delivered_s = (
            self._end_to_end_seconds.labels(self._survey),
            outcome.delivered_at.timestamp(),
        )
        for judgement in outcome.judgements:
            if judgement.message.timestamp_ms is not None:
                # A producer's clock may run ahead of ours.
                end_to_end.observe(max(0.0, delivered_s - judgement.message.timestamp_ms / 1000))
        self._last_delivery.set(time.time())

    def _note_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        self._verdicts.labels(self._survey).inc(len(verdicts))
        for (name, context), number in Tally((_class_of(v), v.source_context) for v in verdicts).items():
            self._classes.labels(name, context).inc(number)
        for verdict in verdicts:
            self._p_values.labels(verdict.source_context).observe(verdict.anomaly_p_value)

    def _entry(self, topic: str) -> str:
        for entry in self._topics:
            if entry == topic or (entry.startswith("^") and re.match(entry, topic)):
                return entry
        return OTHER

    def _show_zeros(self) -> None:
        # A counter that appears with its first event hides that event from a rate.
        for outcome in ("verdict", "dead_letter"):
            self._messages.labels(self._survey, outcome)
        self._verdicts.labels(self._survey)
        self._end_to_end_seconds.labels(self._survey)
        self.lagging({})
        for reason in RejectReason:
            self._dead_letters.labels(str(reason))
        self.paused(None)
        for stage in STAGES:
            self._stage_seconds.labels(stage)
            self._stage_messages.labels(stage)
        for stage in RETRIED:
            self._retries.labels(stage)
        for context in SourceContext:
            self._p_values.labels(str(context))
        self._classes.labels(NO_CLASS, str(SourceContext.UNKNOWN))
        for entry, context in product(CLASSES, [SourceContext.STELLAR]):
            self._classes.labels(entry.name, str(context))


def _class_of(verdict: Verdict) -> str:
    if verdict.top_class is None:
        return NO_CLASS
    return verdict.top_class if verdict.top_class in KNOWN else OTHER


KNOWN = frozenset(entry.name for entry in CLASSES)
"""A bundle may have classes of its own, and a label may not come from a file."""
