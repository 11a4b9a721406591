# SPDX-License-Identifier: BSD-3-Clause
"""What the GPUs were, and how much of their memory was in use as the benchmark went on."""

from __future__ import annotations

from typing import Any

from broker_plugin.engine.providers import Device, ProviderChoice
from broker_plugin.nvml import Gpu, GpuReader

__all__ = ["GpuWatch"]

MEGABYTE = 1e6


class GpuWatch:
    """Notes the memory of the GPUs now and then.

    Parameters
    ----------
    choice
        Where the encoders run; of a processor there is nothing to note.

    Examples
    --------
    >>> from broker_plugin.engine.providers import cpu_choice
    >>> watch = GpuWatch(cpu_choice())
    >>> watch.note("ready")
    >>> watch.as_json() is None
    True
    """

    def __init__(self, choice: ProviderChoice) -> None:
        self._reader = GpuReader() if choice.device is Device.CUDA else None
        self._notes: dict[str, list[Gpu]] = {}

    def note(self, when: str) -> None:
        """Note the memory in use."""
        if self._reader is not None:
            self._notes[when] = self._reader.read()

    def as_json(self) -> dict[str, Any] | None:
        """Return the names and the memory of the GPUs, all in their order; None where none computes."""
        if self._reader is None:
            return None
        gpus = next(iter(self._notes.values()), [])
        return {
            "names": [gpu.name for gpu in gpus],
            "memory_total_mb": [round(gpu.memory_total_bytes / MEGABYTE) for gpu in gpus],
            "memory_used_mb": {
                when: [round(gpu.memory_used_bytes / MEGABYTE) for gpu in found]
                for when, found in self._notes.items()
            },
        }
