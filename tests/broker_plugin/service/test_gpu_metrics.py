# SPDX-License-Identifier: BSD-3-Clause
"""GPUs are measured where a driver answers; elsewhere nothing is missing."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from broker_plugin.service.gpu_metrics import GpuCollector
from tests.support.nvml import with_two_gpus


def measured(collector: GpuCollector) -> dict[tuple[str, str], float]:
    registry = CollectorRegistry()
    registry.register(collector)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, s.labels["gpu"]): s.value for family in families for s in family.samples}


def test_without_the_library_there_are_no_values() -> None:
    script = (
        "import sys; sys.modules['pynvml'] = None\n"
        "from broker_plugin.service.metrics import Metrics\n"
        "print(Metrics('ztf').exposition().decode())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "# TYPE broker_plugin_gpu_memory_used_bytes gauge" in done.stdout
    assert "broker_plugin_gpu_memory_used_bytes{" not in done.stdout


def test_without_a_driver_there_are_no_values() -> None:
    nvml = importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        assert measured(GpuCollector("x")) == {}
    else:
        pytest.skip("a driver answers here")


def test_every_gpu_is_measured_and_what_it_does_not_tell_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = with_two_gpus(monkeypatch)
    collector = GpuCollector("x")
    assert measured(collector) == {
        ("x_gpu_memory_used_bytes", "0"): 1 << 30,
        ("x_gpu_memory_used_bytes", "1"): 2 << 30,
        ("x_gpu_memory_total_bytes", "0"): 80 << 30,
        ("x_gpu_memory_total_bytes", "1"): 80 << 30,
        ("x_gpu_utilisation_ratio", "0"): 0.75,
    }
    library.lost.add(0)
    assert {gpu for _, gpu in measured(collector)} == {"1"}


@pytest.mark.gpu
def test_a_real_gpu_has_memory() -> None:
    found = measured(GpuCollector("x"))
    assert 0 < found["x_gpu_memory_used_bytes", "0"] <= found["x_gpu_memory_total_bytes", "0"]
    assert 0 <= found["x_gpu_utilisation_ratio", "0"] <= 1
