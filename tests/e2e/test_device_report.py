# SPDX-License-Identifier: BSD-3-Clause
"""Every command that scores says which device it took, and of a GPU that lies idle."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from broker_plugin.engine.runtime import CUDA_PROVIDER, offered_providers
from tests.broker_plugin.engine.environments import driver_library, run_python

pytestmark = [
    pytest.mark.skipif(CUDA_PROVIDER in offered_providers(), reason="the CUDA wheel leaves no GPU idle"),
    pytest.mark.skipif(sys.platform != "linux", reason="the stand-in for the driver is a Linux library"),
]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_replay_says_which_device_it_took_and_that_a_gpu_lies_idle(
    data_dir: Path, tmp_path: Path, workers: str
) -> None:
    packet = next((data_dir / "alerts/ztf/native").glob("*.avro"))
    arguments = [str(packet), "--out", str(tmp_path / "verdicts.jsonl"), "--workers", workers]
    done = run_python(
        ["-m", "broker_plugin", "replay", *arguments], libraries=driver_library(tmp_path / "driver")
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("auto took cpu") == 1
    assert done.stderr.count("a GPU lies idle") == 1


def test_run_logs_which_device_it_took_and_that_a_gpu_lies_idle(tmp_path: Path) -> None:
    topics = ["--input", "in", "--output", "out", "--dead-letters", "dead", "--group", tmp_path.name]
    flags = ["--survey", "ztf", "--bootstrap", "127.0.0.1:9", *topics, "--start-deadline-s", "0.1"]
    done = run_python(
        ["-m", "broker_plugin", "run", *flags, "--log-format", "json"],
        libraries=driver_library(tmp_path / "driver"),
    )
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    (opened,) = [event for event in events if event["event"] == "bundle_opened"]
    assert opened["reason"].startswith("auto took cpu")
    (warned,) = [event for event in events if event["event"] == "gpu_left_idle"]
    assert warned["level"] == "warning"
    assert "a GPU lies idle" in warned["why"]
