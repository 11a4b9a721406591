# SPDX-License-Identifier: BSD-3-Clause
"""What is seen of a device, step by step: each returns what JSON can hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from broker_plugin.benchmark.encoders import measure_encoders
from broker_plugin.bundle import open_bundle
from broker_plugin.engine.processor import describe_processor, matmul_gflops
from broker_plugin.engine.providers import choose
from broker_plugin.engine.scorer import Scorer
from broker_plugin.nvml import GpuReader
from tests.gpu.binding import binding_gain
from tests.gpu.memory import BATCHES, LARGEST, memory_over_batches
from tests.support.alerts import real_alerts
from tests.support.artefacts import REPOSITORY
from tests.support.parity import compare, summary

__all__ = ["STEPS", "Subject"]

TESTS = (
    "tests/gpu/test_device.py",
    "tests/broker_plugin/engine",
    "tests/broker_plugin/service/test_gpu_metrics.py",
)
"""Where the tests are that need a GPU, and little else."""


SHOWN = 6000
"""Characters of a failure that are kept: its end says most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A device, the folder of the real data, and how much is measured: `brief` is for trying the steps."""

    device: str
    data: Path
    brief: bool
    workers: int

    @property
    def repeats(self) -> int:
        """Measurements, of which the median counts."""
        return 1 if self.brief else 5

    @property
    def least_s(self) -> float:
        """How long one of them takes."""
        return 0.0 if self.brief else 0.5


def _machine(subject: Subject) -> dict[str, Any]:
    choice = choose(subject.device)
    return {
        "python": sys.version.split()[0],
        "processor": asdict(describe_processor())
        | {"matmul_gflops_fp32_one_core": round(matmul_gflops(), 1)},
        "gpus": [asdict(gpu) for gpu in GpuReader().read()],
        "provider": choice.provider,
        "options": dict(choice.options),
        "reason": choice.reason,
    }


def _doctor(subject: Subject) -> dict[str, Any]:
    command = [
        "doctor",
        "--json",
        "--warm",
        "--device",
        subject.device,
    ]  # the other steps wait for no compiler
    done = _python(["-m", "broker_plugin", *command], accepted=(0, 1, 2))
    return dict(json.loads(done.stdout))


def _tests(subject: Subject) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        chosen = ["-m", "gpu", "-W", "default", "-p", "no:cacheprovider", f"--junitxml={report}"]
        done = _python(["-m", "pytest", "-q", "-rA", *chosen, *TESTS], accepted=(0, 1))
        if not report.exists():
            raise RuntimeError(f"the tests could not be run: {done.stderr[-SHOWN:]}")
        cases = list(ET.parse(report).iter("testcase"))  # noqa: S314  # our own report
    outcomes = {case.get("name", ""): _outcome(case) for case in cases}
    failures = "" if done.returncode == 0 else done.stdout[-SHOWN:]
    if subject.device == "cuda" and "passed" not in outcomes.values():
        failures = f"no test ran: {done.stdout[-SHOWN:]}"
    return {"outcomes": outcomes, "failures": failures}


def _outcome(case: ET.Element) -> str:
    skipped = case.find("skipped")
    if skipped is not None:
        return "xfailed" if skipped.get("type") == "pytest.xfail" else "skipped"
    return "failed" if case.find("failure") is not None or case.find("error") is not None else "passed"


def _parity(subject: Subject) -> dict[str, Any]:
    return summary(compare(subject.data, subject.device, n=100 if subject.brief else None))


def _encoders(subject: Subject) -> dict[str, Any]:
    scorer = Scorer.open(device=subject.device)
    return measure_encoders(scorer, repeats=subject.repeats, least_s=subject.least_s)


def _binding(subject: Subject) -> dict[str, Any]:
    choice = choose(subject.device)
    return binding_gain(
        open_bundle("default"), choice, repeats=4 * subject.repeats, least_s=subject.least_s / 10
    )


def _memory(subject: Subject) -> dict[str, Any]:
    batches, largest = (3, 32) if subject.brief else (BATCHES, LARGEST)
    scorer, alerts = Scorer.open(device=subject.device), real_alerts(subject.data)
    used = memory_over_batches(scorer, alerts, batches=batches, largest=largest)
    return {"mb": used, "grown_mb": round(max(used["since"]) - used["ready"][0], 1)}


def _bench(subject: Subject) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "bench.json"
        flags = ["--quick", "--device", subject.device, "--workers", str(subject.workers), "--json", str(out)]
        _python(["-m", "broker_plugin", "bench", "--alerts", str(subject.data / "alerts"), *flags])
        return dict(json.loads(out.read_text("utf-8")))


STEPS: Mapping[str, Callable[[Subject], dict[str, Any]]] = {
    "machine": _machine,
    "doctor": _doctor,
    "tests": _tests,
    "parity": _parity,
    "encoders": _encoders,
    "memory": _memory,
    "bench": _bench,
    "binding": _binding,
}
"""In the order of their worth: a machine that goes away early has answered the first questions."""


def _python(arguments: list[str], *, accepted: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in accepted:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done
