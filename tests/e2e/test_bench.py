# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin bench` on real packets: what it writes, and that we have not become slow.

This is the gate against regressions. It looks at ratios to the baseline of the same run only, since seconds
depend on the machine and on who else uses it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from broker_plugin.benchmark.stages import STAGES

pytestmark = pytest.mark.timeout(900)  # torch alone takes ten seconds to import, and nobody waits alone

CORPORA = ("ztf", "lsst", "lsst_100", "lsst_600")

RATIO_MIN = {"ztf": 20.0, "lsst": 16.0, "lsst_100": 10.0, "lsst_600": 8.0}
"""Quick runs beside two to five times more work than cores gave 80 to 83, 46 to 62, 32 to 40 and 26 to 28:
whoever falls below has lost a factor of three. Load changes these little, since processor time is compared;
another processor may take half of ZTF's off, where torch gains more than we do from its matrix units."""

READY_CPU_MAX_S = 5.0
"""To import, to load what is compiled and to open a bundle takes 1.3 s; to compile takes 20."""

PARTS_OF_WHOLE = 0.65, 1.4
"""What the stages may add up to, with caches warm for the parts and cold for the whole: 0.83 to 1.05 were
seen, on quiet and on busy cores."""


@pytest.fixture(scope="module")
def run(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("bench")
    outputs = ("--json", str(folder / "bench.json"), "--plot", str(folder / "bench.svg"))
    command = [sys.executable, "-m", "broker_plugin", "bench", "--alerts", str(data_dir / "alerts")]
    result = subprocess.run(
        [*command, "--quick", "--workers", "1", "--device", "cpu", *outputs],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


@pytest.fixture(scope="module")
def document(run: tuple[Path, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run[0] / "bench.json").read_text("utf-8"))
    return found


def test_every_kind_of_alert_is_measured_and_compared(document: dict[str, Any]) -> None:
    assert document["missing"] == {}
    for name in CORPORA:
        found = document["end_to_end"][name]
        assert found["verdicts"] == document["corpora"][name]["messages"]
        assert found["dead_letters"] == 0
        assert found["alerts_per_s"] > 0
        plain = document["baseline"]["rates"][name]
        gain = found["alerts_per_cpu_s"] / plain["alerts_per_cpu_s"]
        assert found["ratio_to_baseline"] == pytest.approx(gain, rel=0.02)  # both are rounded


def test_every_batch_was_as_large_as_is_said(document: dict[str, Any]) -> None:
    batch, growth = document["settings"]["batch"], document["growth"]
    measured = [(found, batch) for found in document["end_to_end"].values()]
    measured += [(point, batch) for kind in ("history", "workers") for point in growth[kind]]
    measured += [(point, point["batch"]) for point in growth["batch"]]
    assert len(measured) > len(CORPORA) + 3
    for found, size in measured:
        assert found["verdicts"] + found["dead_letters"] == found["batches"] * size
    for plain in document["baseline"]["rates"].values():
        assert plain["messages"] == plain["batches"] * document["baseline"]["batch"]


def test_the_gain_over_the_baseline_is_not_lost(document: dict[str, Any]) -> None:
    ratios = {name: document["end_to_end"][name]["ratio_to_baseline"] for name in CORPORA}
    assert all(ratios[name] > RATIO_MIN[name] for name in CORPORA), ratios


def test_the_baseline_and_the_machine_are_stated(document: dict[str, Any]) -> None:
    baseline, processor = document["baseline"], document["processor"]
    assert (baseline["batch"], baseline["padded_to"], baseline["trees"]) == (64, 200, 300)
    assert (baseline["threads_per_process"], baseline["workers"]) == (1, document["settings"]["workers"])
    assert processor["name"]
    assert processor["cores"] >= 1
    assert processor["matmul_gflops_fp32_one_core"] > 1
    assert 0 < document["process"]["ready_cpu_s"] < READY_CPU_MAX_S
    assert 50 < document["process"]["peak_memory_mb"] < 1500


def test_the_stages_add_up_to_the_whole_way(document: dict[str, Any]) -> None:
    for name in CORPORA:
        stages = document["stages"][name]
        parts = sum(stages[stage]["us_per_alert"] for stage in STAGES)
        assert sum(stages[stage]["share"] for stage in STAGES) == pytest.approx(1.0, abs=1e-3)
        low, high = PARTS_OF_WHOLE
        assert low < parts / stages["whole"]["us_per_alert"] < high


def test_histories_are_of_the_length_that_the_name_says(document: dict[str, Any]) -> None:
    for rows in (100, 600):
        assert set(document["corpora"][f"lsst_{rows}"]["history_rows"].values()) == {rows}


def test_the_tables_name_the_processor_and_the_drawing_is_svg(
    run: tuple[Path, str], document: dict[str, Any]
) -> None:
    folder, printed = run
    assert printed.count("GFLOP/s") >= 2 + sum(bool(points) for points in document["growth"].values())
    root = ET.parse(folder / "bench.svg").getroot()  # noqa: S314 - our own drawing
    assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_a_directory_without_alerts_is_refused_with_what_to_do_and_older_results_stay(tmp_path: Path) -> None:
    (tmp_path / "alerts").mkdir()
    older = [tmp_path / "bench.json", tmp_path / "bench.svg"]
    for file in older:
        file.write_text("of yesterday")
    command = [
        sys.executable,
        "-m",
        "broker_plugin",
        "bench",
        "--alerts",
        str(tmp_path / "alerts"),
        "--quick",
    ]
    outputs = ["--json", str(older[0]), "--plot", str(older[1])]
    result = subprocess.run([*command, *outputs], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "--alerts" in result.stderr
    assert [file.read_text() for file in older] == ["of yesterday", "of yesterday"]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_cluster_that_is_not_there_is_said_before_alerts_are_even_read(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "broker_plugin", "bench", "--alerts", str(tmp_path)]
    result = subprocess.run([*command, "--kafka", "127.0.0.1:9"], capture_output=True, text=True, check=False)
    assert result.returncode == 75
    (line,) = result.stderr.split("\n")[1:-1]  # beside what showed how far it was
    assert line.startswith("broker-plugin: no Kafka broker answers at 127.0.0.1:9")
