# SPDX-License-Identifier: BSD-3-Clause
"""Memory and use of the GPUs, from NVIDIA's management library at each scrape.

Where the library, its driver or a GPU is missing the metrics have no values, and that is no error: most
machines that score alerts have none.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["GpuCollector"]

log = structlog.get_logger(__name__)

LIBRARY = "pynvml"
"""Module of the distribution `nvidia-ml-py`, which the extra `gpu` installs."""

PERCENT = 100.0


class GpuCollector(Collector):
    """Asks the driver about every GPU that it shows us.

    Parameters
    ----------
    prefix
        What the metrics' names begin with.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._nvml = _opened()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; without a GPU they have no values."""
        families = {
            name: GaugeMetricFamily(f"{self._prefix}_gpu_{name}", text, labels=["gpu"])
            for name, text in (
                ("memory_used_bytes", "Memory in use on each GPU, by all processes."),
                ("memory_total_bytes", "Memory of each GPU."),
                ("utilisation_ratio", "Share of the last sampling period in which a kernel ran."),
            )
        }
        if self._nvml is not None:
            for gpu in range(self._count()):
                self._measure(gpu, families)
        yield from families.values()

    def _count(self) -> int:
        try:
            return int(self._nvml.nvmlDeviceGetCount())
        except self._nvml.NVMLError as error:
            log.debug("gpu_unreadable", why=type(error).__name__)
            return 0

    def _measure(self, gpu: int, families: dict[str, GaugeMetricFamily]) -> None:
        # A share of a GPU (MIG) has a memory and no utilisation; one that fell off the bus has neither.
        with suppress(self._nvml.NVMLError):
            handle = self._nvml.nvmlDeviceGetHandleByIndex(gpu)
            memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
            families["memory_used_bytes"].add_metric([str(gpu)], float(memory.used))
            families["memory_total_bytes"].add_metric([str(gpu)], float(memory.total))
            used = self._nvml.nvmlDeviceGetUtilizationRates(handle)
            families["utilisation_ratio"].add_metric([str(gpu)], used.gpu / PERCENT)


def _opened() -> Any:
    """Return the library if a driver answers it, else None."""
    try:
        nvml: Any = importlib.import_module(LIBRARY)
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        log.debug("gpu_metrics_unavailable", why=type(error).__name__)
        return None
    return nvml
