# SPDX-License-Identifier: BSD-3-Clause
"""What is counted of the models in service, beside the counts of the stream."""

from __future__ import annotations

from typing import get_args

from prometheus_client import CollectorRegistry, Counter

from broker_plugin.pipeline.reload import BundleChange
from broker_plugin.pipeline.shadow import ShadowOutcome

__all__ = ["BundleMetrics"]


class BundleMetrics:
    """Counters of promotions and of the shadow, in the registry of the stream's metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._changes = Counter(
            "broker_plugin_bundle_changes_total",
            "Promotions that were taken up (switched), or refused while the old bundle goes on.",
            ("outcome",),
            registry=registry,
        )
        self._shadow_batches = Counter(
            "broker_plugin_shadow_batches_total",
            "Batches that the shadow was offered: scored, dropped since it was behind, or failed.",
            ("outcome",),
            registry=registry,
        )
        self._shadow_alerts = Counter(
            "broker_plugin_shadow_alerts_total",
            "The alerts in them.",
            ("outcome",),
            registry=registry,
        )
        for outcome in get_args(ShadowOutcome):
            self._shadow_batches.labels(outcome)
            self._shadow_alerts.labels(outcome)
        for change in get_args(BundleChange):
            self._changes.labels(change)  # a counter that appears with its first event hides that event

    def changed(self, outcome: BundleChange) -> None:
        """Count what became of a promotion."""
        self._changes.labels(outcome).inc()

    def shadowed(self, outcome: ShadowOutcome, alerts: int) -> None:
        """Count what became of a batch that the shadow was offered."""
        self._shadow_batches.labels(outcome).inc()
        self._shadow_alerts.labels(outcome).inc(alerts)
