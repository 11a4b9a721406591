# SPDX-License-Identifier: BSD-3-Clause
"""Real alerts get the CPU's verdicts on the GPU; `test_openvino_wheel.py` says it of OpenVINO."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker_plugin.engine.runtime import CPU_PROVIDER, CUDA_PROVIDER
from tests.support.parity import (
    P_VALUE_MAX,
    Compared,
    compare,
    farthest_p_value,
    require_p_values,
    require_verdicts,
)

FEW = 60
"""Alerts on which the comparison itself is tried."""


@pytest.fixture(scope="module")
def compared(data_dir: Path) -> Compared:
    return compare(data_dir, "cuda", n=None)


def test_the_cpu_agrees_with_itself_to_the_last_bit(data_dir: Path) -> None:
    compared = compare(data_dir, "cpu", n=FEW)
    assert (compared["alerts"], compared["providers"]) == (FEW, [CPU_PROVIDER] * 2)
    require_verdicts(compared)
    require_p_values(compared)
    assert farthest_p_value(compared) == 0.0


@pytest.mark.gpu
def test_verdicts_on_cuda_are_those_of_the_cpu(compared: Compared) -> None:
    assert compared["providers"] == [CPU_PROVIDER, CUDA_PROVIDER]
    require_verdicts(compared)


@pytest.mark.gpu
def test_small_p_values_on_cuda_are_those_of_the_cpu_and_the_others_nearly(compared: Compared) -> None:
    require_p_values(compared)


@pytest.mark.gpu
@pytest.mark.xfail(
    strict=False,  # on which side of a threshold a last bit falls differs from GPU to GPU
    reason="bundles 4.1 and 5.1 on OpenVINO: one alert in a thousand is moved by 0.02",
)
def test_every_p_value_on_cuda_is_that_of_the_cpu(compared: Compared) -> None:
    assert farthest_p_value(compared) <= P_VALUE_MAX
