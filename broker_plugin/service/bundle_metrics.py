# SPDX-License-Identifier: BSD-3-Clause
"""What is counted of the models in service, beside the counts of the stream."""

from __future__ import annotations

from typing import get_args

from prometheus_client import CollectorRegistry, Counter

from broker_plugin.pipeline.reload import BundleChange

__all__ = ["BundleMetrics"]


class BundleMetrics:
    """Counters of promotions, in the registry of the stream's metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._changes = Counter(
            "broker_plugin_bundle_changes_total",
            "Promotions that were taken up (switched), or refused while the old bundle goes on.",
            ("outcome",),
            registry=registry,
        )
        for change in get_args(BundleChange):
            self._changes.labels(change)  # a counter that appears with its first event hides that event

    def changed(self, outcome: BundleChange) -> None:
        """Count what became of a promotion."""
        self._changes.labels(outcome).inc()
