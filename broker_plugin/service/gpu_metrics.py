# SPDX-License-Identifier: BSD-3-Clause
"""Memory and use of the GPUs at each scrape; without a GPU the metrics have no values."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from broker_plugin.nvml import GpuReader

__all__ = ["GpuCollector"]


class GpuCollector(Collector):
    """Asks the driver about every GPU that it shows us.

    Parameters
    ----------
    prefix
        What the metrics' names begin with.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._reader = GpuReader()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; without a GPU they have no values."""
        used = self._family("memory_used_bytes", "Memory in use on each GPU, by all processes.")
        total = self._family("memory_total_bytes", "Memory of each GPU.")
        busy = self._family("utilisation_ratio", "Share of the last sampling period in which a kernel ran.")
        for gpu in self._reader.read():
            label = [str(gpu.number)]
            used.add_metric(label, float(gpu.memory_used_bytes))
            total.add_metric(label, float(gpu.memory_total_bytes))
            if gpu.utilisation is not None:
                busy.add_metric(label, gpu.utilisation)
        yield from (used, total, busy)

    def _family(self, name: str, text: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"{self._prefix}_gpu_{name}", text, labels=["gpu"])
