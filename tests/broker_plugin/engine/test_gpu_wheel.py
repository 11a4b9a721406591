# SPDX-License-Identifier: BSD-3-Clause
"""The policy on the real `onnxruntime-gpu` wheel, on a machine that may have no GPU.

The wheel lists CUDA as available on any machine, so that a policy could be deceived, as it cannot be on the
CPU wheel. Where there is an NVIDIA driver, the `gpu` tier says what holds instead.
"""

from __future__ import annotations

import ctypes.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from broker_plugin.engine.providers import cpu_choice
from broker_plugin.engine.session import open_session
from tests.broker_plugin.engine.environments import add_distribution, driver_library, run_python
from tests.broker_plugin.engine.graphs import attention_graph, attention_inputs

pytestmark = [
    pytest.mark.gpu_wheel,
    pytest.mark.skipif(
        ctypes.util.find_library("cuda") is not None,
        reason="this machine has an NVIDIA driver; see the gpu tier",
    ),
]

CHOOSE = """
import json, sys
from broker_plugin.engine.providers import choose
from broker_plugin.errors import ProviderError
try:
    choice = choose(sys.argv[1])
    said = {"provider": choice.provider, "reason": choice.reason, "warnings": choice.warnings}
except ProviderError as error:
    said = {"refused": str(error)}
print(json.dumps(said))
"""

OPEN_ON_CUDA = """
import json, sys
from broker_plugin.engine.probe import PROBE
from broker_plugin.engine.providers import CUDA_OPTIONS, Device, ProviderChoice
from broker_plugin.engine.runtime import CUDA_PROVIDER, offered_providers, open_raw_session
from broker_plugin.engine.session import open_session
from broker_plugin.errors import ProviderError
said = {"offered": offered_providers()}
said["fell_back_to"] = open_raw_session(PROBE, CUDA_PROVIDER, {}).get_providers()
try:
    open_session(PROBE, ProviderChoice(provider=CUDA_PROVIDER, device=Device.CUDA, reason="for a test"))
except ProviderError as error:
    said["refused"] = str(error)
print(json.dumps(said))
"""

RUN_ON_CPU = """
import sys
import numpy as np
from broker_plugin.engine.providers import choose
from broker_plugin.engine.session import open_session
folder = sys.argv[1]
graph = open(f"{folder}/graph.onnx", "rb").read()
session = open_session(graph, choose("cpu"))
np.save(f"{folder}/found.npy", session.run({"tokens": np.load(f"{folder}/tokens.npy")})["embedding"])
"""

OTHER_VERSION = 2e-6
"""Two versions of ONNX Runtime may order a sum of up to 64 terms of order 1 differently: 30 eps of fp32."""

OTHER_SPLIT = 0.01
"""An embedding that differs in its last bit may fall on the other side of a few thresholds of a forest."""


def choose_there(interpreter: Path, device: str, **machine: Any) -> dict[str, Any]:
    done = run_python(["-c", CHOOSE, device], interpreter=interpreter, **machine)
    assert done.returncode == 0, done.stderr
    # Neither the runtime's C++ log nor what its loader prints may stand around our message.
    assert done.stderr == ""
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_cuda_is_refused_for_want_of_a_driver(gpu_wheel_python: Path) -> None:
    message = choose_there(gpu_wheel_python, "cuda")["refused"]
    assert message.startswith("device cuda cannot be had: no NVIDIA driver (libcuda.so.1 is missing)")
    assert "nvidia-smi" in message
    assert "--gpus all" in message
    assert "set the device to cpu" in message


def test_auto_takes_the_cpu_and_says_why(gpu_wheel_python: Path) -> None:
    assert choose_there(gpu_wheel_python, "auto") == {
        "provider": "CPUExecutionProvider",
        "reason": "auto took cpu: no NVIDIA driver (libcuda.so.1 is missing)",
        "warnings": [],
    }


def test_a_session_that_falls_back_silently_is_refused(gpu_wheel_python: Path) -> None:
    done = run_python(["-c", OPEN_ON_CUDA], interpreter=gpu_wheel_python)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert "CUDAExecutionProvider" in said["offered"]
    assert said["fell_back_to"] == ["CPUExecutionProvider"]  # the trap is there
    assert "came up on CPUExecutionProvider" in said["refused"]


def test_cpu_on_the_cuda_wheel_computes_what_this_wheel_does(
    gpu_wheel_python: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    graph, inputs = attention_graph(rng), attention_inputs(rng, 16, 64)
    (tmp_path / "graph.onnx").write_bytes(graph)
    np.save(tmp_path / "tokens.npy", inputs["tokens"])
    done = run_python(["-c", RUN_ON_CPU, str(tmp_path)], interpreter=gpu_wheel_python)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "found.npy")
    expected = open_session(graph, cpu_choice()).run(inputs)["embedding"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=OTHER_VERSION)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_the_cpu_wheel_beside_it_is_refused(gpu_wheel_python: Path, tmp_path: Path, device: str) -> None:
    paths = [add_distribution(tmp_path, "onnxruntime", "1.32.0")]
    message = choose_there(gpu_wheel_python, device, paths=paths)["refused"]
    assert "onnxruntime 1.32.0 and onnxruntime-gpu" in message
    assert "pip uninstall --yes onnxruntime onnxruntime-gpu" in message
    assert "astrom3-broker[gpu]" in message


def test_a_driver_without_the_cuda_libraries_is_told_which_are_missing(
    gpu_wheel_python: Path, tmp_path: Path
) -> None:
    machine = {"libraries": driver_library(tmp_path)}
    message = choose_there(gpu_wheel_python, "cuda", **machine)["refused"]
    for library in ("libcudart.so.", "libcublasLt.so.", "libcublas.so.", "libcudnn.so."):
        assert library in message.split(" are missing")[0]
    assert "pip install 'astrom3-broker[gpu]'" in message
    said = choose_there(gpu_wheel_python, "auto", **machine)
    assert said["provider"] == "CPUExecutionProvider"
    assert said["warnings"][0].startswith("a GPU lies idle: the CUDA ")


def test_a_driver_that_is_too_old_is_told_apart(gpu_wheel_python: Path, tmp_path: Path) -> None:
    old = driver_library(tmp_path, cuda_version=11_040)
    message = choose_there(gpu_wheel_python, "cuda", libraries=old)["refused"]
    assert "the driver runs CUDA up to 11.4" in message
    assert "update the driver" in message


def test_a_driver_without_a_gpu_is_told_apart(gpu_wheel_python: Path, tmp_path: Path) -> None:
    none = driver_library(tmp_path, gpus=0)
    message = choose_there(gpu_wheel_python, "cuda", libraries=none)["refused"]
    assert "the NVIDIA driver finds no GPU" in message
    assert "CUDA_VISIBLE_DEVICES" in message
    assert choose_there(gpu_wheel_python, "auto", libraries=none)["warnings"] == []


def test_real_alerts_get_the_verdicts_that_the_cpu_wheel_gives(
    gpu_wheel_python: Path, data_dir: Path, tmp_path: Path
) -> None:
    packets = str(data_dir / "alerts" / "ztf" / "native")
    verdicts: list[list[dict[str, Any]]] = []
    for name, interpreter in {"cpu": Path(sys.executable), "gpu": gpu_wheel_python}.items():
        out = tmp_path / f"{name}.jsonl"
        command = ["-m", "broker_plugin", "replay", packets, "--out", str(out), "--device", "cpu"]
        done = run_python(command, interpreter=interpreter)
        assert done.returncode == 0, done.stderr
        verdicts.append([json.loads(line) for line in out.read_text("utf-8").splitlines()])
    ours, theirs = verdicts
    assert len(ours) == len(theirs) == 198
    for here, there in zip(ours, theirs, strict=True):
        assert here["verdict_id"] == there["verdict_id"]
        assert here["inputs_digest"] == there["inputs_digest"]
        assert here["provider"] == there["provider"] == "CPUExecutionProvider"
        assert there["class_probabilities"] == pytest.approx(here["class_probabilities"], abs=OTHER_VERSION)
        assert there["anomaly_score"] == pytest.approx(here["anomaly_score"], abs=OTHER_SPLIT)
