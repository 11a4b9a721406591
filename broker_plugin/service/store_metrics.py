# SPDX-License-Identifier: BSD-3-Clause
"""What the store did, for Prometheus: read from the memory of the stream whenever it is scraped."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from broker_plugin.pipeline.recollection import Recollection

__all__ = ["StoreCollector"]

OPERATIONS = ("read", "write")

PREFIX = "broker_plugin_store"


class StoreCollector(Collector):
    """Counters and gauges of one memory; register it where the other metrics are."""

    def __init__(self, memory: Recollection) -> None:
        self._memory = memory

    def collect(self) -> Iterator[Metric]:
        """Yield what stands there now."""
        memory = self._memory
        errors = CounterMetricFamily(
            f"{PREFIX}_errors_total", "Calls of the store that failed or were too slow.", labels=["operation"]
        )
        for operation in OPERATIONS:
            errors.add_metric([operation], memory.store.errors[operation])
        yield errors
        yield GaugeMetricFamily(
            f"{PREFIX}_away", "1 while alerts are scored without the store.", value=memory.store.away
        )
        yield GaugeMetricFamily(
            f"{PREFIX}_backlog_objects", "Histories that wait for the store.", value=len(memory.backlog)
        )
        yield CounterMetricFamily(
            f"{PREFIX}_dropped_epochs_total",
            "Epochs that the backlog had no room for.",
            value=memory.backlog.dropped,
        )
        yield CounterMetricFamily(
            f"{PREFIX}_epochs_total", "Epochs that the store added to alerts.", value=memory.histories.added
        )
        yield CounterMetricFamily(
            f"{PREFIX}_corrupt_total",
            "Stored values that could not be read.",
            value=memory.histories.corrupt + memory.contexts.corrupt,
        )
