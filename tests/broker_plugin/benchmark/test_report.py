# SPDX-License-Identifier: BSD-3-Clause
"""What is missing is said, in the tables and beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from broker_plugin.benchmark import baseline
from broker_plugin.benchmark.baseline import measure_baseline
from broker_plugin.benchmark.plot import drawing
from broker_plugin.benchmark.report import remarks, tables
from broker_plugin.benchmark.stages import STAGES, WHOLE

RATE = {"alerts_per_s": 200.0, "alerts_per_cpu_s": 110.0, "spread": 0.02, "repeats": 3}

KAFKA = {
    "cluster": "k:9092",
    "corpus": "ztf",
    "workers": 2,
    "steady": {
        "sent": 60,
        "sent_per_s": 30.0,
        "delivered": 0,
        "p50_ms": None,
        "p90_ms": None,
        "p99_ms": None,
    },
    "burst": {
        "messages": 100,
        "delivered": 0,
        "produced_in_s": 0.1,
        "drained_in_s": None,
        "alerts_per_s": None,
    },
}


def document(**changes: Any) -> dict[str, Any]:
    stage = {"us_per_alert": 10.0, "alerts_per_cpu_s": 100_000.0, "share": 1 / len(STAGES)}
    found = {
        "processor": {"name": "Abacus", "cores": 4, "features": [], "matmul_gflops_fp32_one_core": 1.0},
        "load_average": {"before": 0.1, "after": 2.0},
        "settings": {"workers": 2},
        "process": {"ready_s": 3.0, "ready_cpu_s": 2.0, "peak_memory_mb": 300},
        "corpora": {"ztf": {"history_rows": {"0.5": 7}}},
        "missing": {"lsst": "no Avro container files"},
        "end_to_end": {"ztf": {**RATE, "ratio_to_baseline": None}, "lsst": None},
        "baseline": {"missing": "the baseline needs torch"},
        "stages": {"ztf": dict.fromkeys(STAGES, stage) | {WHOLE: {**stage, "share": None}}},
        "growth": {"history": [], "batch": [{"batch": 1, **RATE}], "workers": []},
        "kafka": None,
    }
    return found | changes


GPU = {
    "names": ["NVIDIA Stand-in"],
    "memory_total_mb": [80_000],
    "memory_used_mb": {"ready": [1_200], "end": [1_210]},
}


def test_a_gpu_is_named_and_its_memory_told_and_without_one_nothing_is_said() -> None:
    found = document(gpu=GPU)
    assert "NVIDIA Stand-in; Abacus, 4 cores" in printed(found)
    told = " ".join(remarks(found))
    assert "the wall clock counts" in told
    assert "ready 1,200, end 1,210" in told
    assert "CUDA" not in " ".join(remarks(document(gpu=None)))


def printed(found: dict[str, Any]) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        for table in tables(found):
            console.print(table)
    return capture.get()


def test_what_is_missing_is_named() -> None:
    said = list(remarks(document()))
    assert any("lsst was not measured: no Avro container files" in line for line in said)
    assert any("needs torch" in line for line in said)
    assert not any("busy" in line for line in said)
    assert "not measured" in printed(document())
    assert "not measured" in drawing(document())


def test_a_busy_machine_and_too_many_processes_are_remarked() -> None:
    busy = document(load_average={"before": 3.0, "after": 3.0}, settings={"workers": 8})
    said = " ".join(remarks(busy))
    assert "busy" in said
    assert "8 processes share 4 cores" in said


def test_every_table_names_the_processor() -> None:
    text = printed(document(kafka=KAFKA))
    assert text.count("Abacus") == 4
    assert "k:9092" in text


def test_without_torch_there_is_no_baseline_and_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline, "NEEDED", ("no_such_library",))
    found = measure_baseline(tmp_path, ["ztf"], workers=1, repeats=1, batches=1)
    assert "[train]" in found.missing
    assert found.as_json() == {"missing": found.missing}


def test_a_baseline_that_fails_says_why(tmp_path: Path) -> None:
    found = measure_baseline(tmp_path, ["ztf"], workers=0, repeats=1, batches=1)
    assert "status" in found.missing
    assert found.rates == {}
