# SPDX-License-Identifier: BSD-3-Clause
"""On a GPU the clock on the wall counts: what the processors do meanwhile is little."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from broker_plugin.benchmark.baseline import Baseline
from broker_plugin.benchmark.encoders import measure_encoders
from broker_plugin.benchmark.gpu import GpuWatch
from broker_plugin.benchmark.measuring import Clock, clock_of, effort, rounds
from broker_plugin.engine.providers import Device, cpu_choice
from broker_plugin.engine.scorer import Scorer
from tests.support.nvml import with_two_gpus

NAP_S = 0.02
"""Far longer than a process needs to fall asleep and wake."""


def test_waiting_counts_on_the_wall_alone() -> None:
    spent = effort(lambda: time.sleep(NAP_S), passes=3)
    assert spent.by(Clock.WALL) >= NAP_S
    assert spent.by(Clock.PROCESSOR) < NAP_S / 2
    for clock, waits in ((Clock.WALL, True), (Clock.PROCESSOR, False)):
        seconds = rounds({"nap": lambda: time.sleep(NAP_S)}, repeats=2, least_s=0.0, clock=clock)["nap"]
        assert bool(seconds.min() >= NAP_S) is waits


@pytest.mark.parametrize(
    ("device", "clock"),
    [(Device.CPU, Clock.PROCESSOR), (Device.OPENVINO, Clock.PROCESSOR), (Device.CUDA, Clock.WALL)],
)
def test_the_wall_counts_where_a_gpu_computes(device: Device, clock: Clock) -> None:
    assert clock_of(replace(cpu_choice(), device=device)) is clock


def test_the_ratio_is_that_of_the_clock_that_counts() -> None:
    plain = Baseline(rates={"ztf": {"alerts_per_cpu_s": 50.0, "alerts_per_s": 100.0}})
    rate = {"alerts_per_cpu_s": 1000.0, "alerts_per_s": 8000.0}
    assert plain.ratios("ztf", rate)["ratio_to_baseline"] == 20.0
    assert plain.ratios("ztf", rate, Clock.WALL) == {
        "ratio_to_baseline": 80.0,
        "ratio_to_baseline_wall": 80.0,
    }


def test_gpus_are_named_and_their_memory_is_noted_as_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with_two_gpus(monkeypatch)
    watch = GpuWatch(replace(cpu_choice(), device=Device.CUDA))
    watch.note("ready")
    watch.note("end")
    assert watch.as_json() == {
        "names": ["NVIDIA Stand-in 0", "NVIDIA Stand-in 1"],
        "memory_total_mb": [85_899, 85_899],
        "memory_used_mb": {"ready": [1_074, 2_147], "end": [1_074, 2_147]},
    }


def test_every_encoder_is_measured_on_light_curves_of_a_hundred_epochs() -> None:
    scorer = Scorer.open("default", device="cpu")
    found = measure_encoders(scorer, repeats=1, least_s=0.0)
    names = {model.name for model in scorer.bundle.manifest.modalities}
    assert set(found) == {"epochs", "light_curves", *names}
    assert found["epochs"] == 100
    assert all(found[name]["alerts_per_s"] > 0 for name in names)
