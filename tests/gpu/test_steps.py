# SPDX-License-Identifier: BSD-3-Clause
"""The steps that a GPU is lent for run, on the processor in its place; a step that fails costs no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.broker_plugin.engine.environments import run_python


def seen(out: Path, *flags: str) -> tuple[int, dict[str, Any]]:
    """Run the program; return its exit status and the document."""
    done = run_python(["-m", "tests.gpu", "--brief", "--out", str(out), *flags])
    return done.returncode, json.loads(out.read_text("utf-8"))


def test_the_steps_run_on_a_processor(tmp_path: Path, data_dir: Path) -> None:
    steps = ["machine", "doctor", "encoders", "memory", "binding"]
    flags = ["--device", "cpu", "--data", str(data_dir), "--steps", *steps]
    status, found = seen(tmp_path / "new" / "gpu.json", *flags)
    assert status == 0, found
    assert list(found["steps"]) == list(found["seconds"]) == steps
    assert found["steps"]["machine"]["provider"] == "CPUExecutionProvider"
    assert found["steps"]["doctor"]["checks"]
    assert found["steps"]["encoders"]["light_curve"]["alerts_per_s"] > 0
    assert found["steps"]["memory"]["mb"]["ready"][0] > 0
    assert all(each["same_bits"] for each in found["steps"]["binding"].values())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["gpu.json"]


def test_a_step_that_fails_or_has_no_time_costs_no_other(tmp_path: Path) -> None:
    flags = ["--device", "cpu", "--data", str(tmp_path), "--steps", "memory", "machine"]
    status, found = seen(tmp_path / "gpu.json", *flags)
    assert status == 1
    assert "nocutouts.avro" in found["steps"]["memory"]["failed"]
    assert found["steps"]["machine"]["provider"] == "CPUExecutionProvider"
    status, found = seen(tmp_path / "late.json", *flags, "--budget-s", "0")
    assert status == 1
    assert {each["failed"] for each in found["steps"].values()} == {"no time was left for it"}
