# SPDX-License-Identifier: BSD-3-Clause
"""What the service counts and measures, for Prometheus. Labels come from closed sets only."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from broker_plugin import __version__
from broker_plugin.errors import RejectReason
from broker_plugin.pipeline.monitor import BatchOutcome, QuietMonitor

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

STAGE_BUCKETS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Half decades from the decoding of one alert to a wait for a broker that is away."""

BATCH_BUCKETS = (1, 4, 16, 64, 256, 1024, 4096)

LATENCY_BUCKETS_S = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Up to the minute within which Rubin sends an alert out, and beyond for a backlog."""


class Metrics(QuietMonitor):
    """Counters and histograms in a registry of their own, fed by the pipeline.

    Parameters
    ----------
    survey
        Label of what belongs to one survey.
    """

    def __init__(self, survey: str) -> None:
        self.registry = CollectorRegistry()
        self._survey = survey
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
        self._batch_alerts = Histogram(
            f"{prefix}_batch_alerts", "Alerts in a batch.", buckets=BATCH_BUCKETS, registry=registry
        )
        self._latency_seconds = Histogram(
            f"{prefix}_latency_seconds",
            "From the poll of a batch's oldest message to its commit.",
            buckets=LATENCY_BUCKETS_S,
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
            "Messages of our partitions not yet polled.",
            ("survey",),
            registry=registry,
        )
        Gauge(f"{prefix}_info", "What runs here.", ("version",), registry=registry).labels(__version__).set(1)
        self._show_zeros()

    def lagging(self, messages: int) -> None:
        """Note how many messages lie ahead."""
        self._lag.labels(self._survey).set(messages)

    def retried(self, stage: str) -> None:
        """Count a failed attempt."""
        self._retries.labels(stage).inc()

    def delivered(self, outcome: BatchOutcome) -> None:
        """Count a batch."""
        verdicts, rejections = len(outcome.verdicts), outcome.rejections
        rejected = rejections.total()
        self._messages.labels(self._survey, "verdict").inc(len(outcome.judgements) - rejected)
        self._messages.labels(self._survey, "dead_letter").inc(rejected)
        self._verdicts.labels(self._survey).inc(verdicts)
        for reason, number in rejections.items():
            self._dead_letters.labels(reason).inc(number)
        for stage, seconds in outcome.times.items():
            self._stage_seconds.labels(stage).observe(seconds)
        self._batch_alerts.observe(verdicts)
        self._latency_seconds.observe((outcome.delivered_at - outcome.received_at).total_seconds())

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)

    def _show_zeros(self) -> None:
        # A counter that appears with its first event hides that event from a rate.
        for outcome in ("verdict", "dead_letter"):
            self._messages.labels(self._survey, outcome)
        self._verdicts.labels(self._survey)
        for reason in RejectReason:
            self._dead_letters.labels(str(reason))
