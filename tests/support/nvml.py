# SPDX-License-Identifier: BSD-3-Clause
"""A stand-in for NVIDIA's management library on a machine with two GPUs, one of them shared (MIG)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

__all__ = ["with_two_gpus"]


class NVMLError(Exception):
    """As the library's."""


def with_two_gpus(patch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Put the stand-in in the library's place; its `lost` are GPUs that no longer answer."""
    lost: set[int] = set()

    def handle(gpu: int) -> int:
        if gpu in lost:
            raise NVMLError
        return gpu

    def rates(gpu: int) -> SimpleNamespace:
        if gpu == 1:
            raise NVMLError
        return SimpleNamespace(gpu=75, memory=10)

    library = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=handle,
        nvmlDeviceGetName=lambda gpu: f"NVIDIA Stand-in {gpu}",
        nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(used=(gpu + 1) << 30, total=80 << 30),
        nvmlDeviceGetUtilizationRates=rates,
        lost=lost,
    )
    patch.setattr("broker_plugin.nvml.importlib.import_module", lambda name: library)
    return library
