# SPDX-License-Identifier: BSD-3-Clause
"""What NVIDIA's management library says of the GPUs, at the moment that it is asked.

Where the library, its driver or a GPU is missing there is nothing to be read, and that is no error: most
machines that score alerts have none.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import structlog

__all__ = ["Gpu", "GpuReader"]

log = structlog.get_logger(__name__)

LIBRARY = "pynvml"
"""Module of the distribution `nvidia-ml-py`, which the extra `gpu` installs."""

PERCENT = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU of the machine, whether or not CUDA shows it to us.

    Parameters
    ----------
    memory_used_bytes
        By all processes.
    utilisation
        Share of the last sampling period in which a kernel ran; None for a share of a GPU (MIG).
    """

    number: int
    name: str
    memory_used_bytes: int
    memory_total_bytes: int
    utilisation: float | None


class GpuReader:
    """Asks the driver about every GPU of the machine."""

    def __init__(self) -> None:
        self._nvml = _opened()

    def read(self) -> list[Gpu]:
        """Return the GPUs that answer."""
        if self._nvml is None:
            return []
        found = (self._one(number) for number in range(self._count()))
        return [gpu for gpu in found if gpu is not None]

    def _count(self) -> int:
        try:
            return int(self._nvml.nvmlDeviceGetCount())
        except self._nvml.NVMLError as error:
            log.debug("gpu_unreadable", why=type(error).__name__)
            return 0

    def _one(self, number: int) -> Gpu | None:
        try:
            handle = self._nvml.nvmlDeviceGetHandleByIndex(number)
            memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
            name = str(self._nvml.nvmlDeviceGetName(handle))
        except self._nvml.NVMLError:  # it fell off the bus
            return None
        return Gpu(
            number=number,
            name=name,
            memory_used_bytes=int(memory.used),
            memory_total_bytes=int(memory.total),
            utilisation=self._utilisation(handle),
        )

    def _utilisation(self, handle: Any) -> float | None:
        try:
            return float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu / PERCENT)
        except self._nvml.NVMLError:
            return None


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
