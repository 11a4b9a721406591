# SPDX-License-Identifier: BSD-3-Clause
"""The policy on the wheel that is installed here; `test_gpu_wheel.py` has it on the CUDA wheel."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from broker_plugin.engine.cuda import Driver, find_driver
from broker_plugin.engine.probe import PROBE, PROBE_INPUT, PROBE_OUTPUT, PROBE_TOLERANCE
from broker_plugin.engine.providers import (
    CUDA_OPTIONS,
    Device,
    ProviderChoice,
    choose,
    cpu_choice,
    cuda_options,
)
from broker_plugin.engine.runtime import (
    CPU_PROVIDER,
    CUDA_PROVIDER,
    TELEMETRY_OFF,
    installed_wheels,
    offered_providers,
)
from broker_plugin.engine.session import open_session
from broker_plugin.errors import ConfigurationError, ProviderError
from tests.broker_plugin.engine.environments import (
    add_distribution,
    driver_library,
    run_python,
    site_with_numpy_alone,
)

without_cuda_wheel = pytest.mark.skipif(
    CUDA_PROVIDER in offered_providers(), reason="the CUDA wheel is installed; this is about the others"
)

CHOOSE_EACH = """
import json
from broker_plugin.engine.providers import Device, choose, cpu_choice
from broker_plugin.errors import ProviderError
said = {}
for device in (*Device, "forest"):
    try:
        said[device] = (cpu_choice() if device == "forest" else choose(device)).reason
    except ProviderError as error:
        said[device] = f"refused: {error}"
print(json.dumps(said))
"""
"""Prints what each device gives, as JSON."""


def test_the_probe_is_the_graph_that_its_docstring_says() -> None:
    model = onnx.load_from_string(PROBE)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["Conv", "MatMul"]
    (product,) = ReferenceEvaluator(model).run(None, {"x": PROBE_INPUT})
    assert product.shape == (1, 1, 1)
    assert product.item() == PROBE_OUTPUT  # small integers are exact in fp32


def test_cpu_is_had_everywhere_and_computes() -> None:
    choice = choose("cpu")
    assert (choice.provider, choice.device, choice.precision) == (CPU_PROVIDER, Device.CPU, "fp32")
    assert choice.warnings == ()
    assert open_session(PROBE, choice).run({"x": PROBE_INPUT})["y"].item() == PROBE_OUTPUT


def test_a_forest_is_always_offered_the_cpu() -> None:
    assert cpu_choice().provider == CPU_PROVIDER


def test_the_runtime_tells_nobody_what_it_opens(tmp_path: Path) -> None:
    script = "from broker_plugin.engine.runtime import load_runtime; load_runtime()"
    # In CI it would be silent by itself, and XDG_CACHE_HOME another place than the home directory.
    cleared = ("CI", "XDG_CACHE_HOME", TELEMETRY_OFF)
    plain = {name: value for name, value in os.environ.items() if name not in cleared}
    subprocess.run([sys.executable, "-c", script], env=plain | {"HOME": str(tmp_path)}, check=True)
    # Where it may speak, it keeps there what it is to send, and for which machine.
    assert list(tmp_path.iterdir()) == []


@without_cuda_wheel
def test_cuda_without_the_cuda_wheel_is_refused_with_the_commands_that_help() -> None:
    (wheel,) = installed_wheels()
    with pytest.raises(ProviderError) as refused:
        choose("cuda")
    message = str(refused.value)
    assert f"the wheel {wheel} " in message
    assert f"pip uninstall --yes {wheel}" in message  # installing beside it would make two
    assert "pip install 'astrom3-broker[gpu]'" in message
    assert "set the device to cpu" in message


@without_cuda_wheel
def test_auto_without_the_cuda_wheel_takes_the_cpu_and_says_why() -> None:
    choice = choose(Device.AUTO)
    (wheel,) = installed_wheels()
    assert choice.provider == CPU_PROVIDER
    assert choice.device is Device.CPU
    assert choice.reason.startswith("auto took cpu: ")
    assert wheel in choice.reason
    # A GPU that lies idle is worth a warning; a machine without one is not.
    assert bool(choice.warnings) == isinstance(find_driver(), Driver)


@without_cuda_wheel
@pytest.mark.skipif(sys.platform != "linux", reason="the stand-in for the driver is a Linux library")
def test_auto_warns_of_a_gpu_that_lies_idle_for_want_of_the_wheel(tmp_path: Path) -> None:
    script = "import json; from broker_plugin.engine.providers import choose; print(*choose('auto').warnings)"
    done = run_python(["-c", script], libraries=driver_library(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "a GPU lies idle" in done.stdout
    assert "astrom3-broker[gpu]" in done.stdout


def test_an_unknown_device_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="auto, cpu, cuda, openvino"):
        choose("tpu")


def test_choosing_writes_nothing_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    choose("auto")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("second", ["onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime"])
def test_two_wheels_are_refused_for_every_device(tmp_path: Path, second: str) -> None:
    if second in installed_wheels():
        pytest.skip(f"{second} is the wheel that is installed")
    done = run_python(["-c", CHOOSE_EACH], paths=[add_distribution(tmp_path, second, "1.31.1")])
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert set(said) == {*Device, "forest"}
    for message in said.values():
        assert message.startswith("refused: ")
        assert f"{second} 1.31.1" in message
        for wheel in (*installed_wheels(), second):
            assert wheel in message.split("pip uninstall --yes ")[1]
        assert "astrom3-broker[cpu]" in message


def test_no_wheel_is_refused_with_the_three_to_choose_from(tmp_path: Path) -> None:
    done = run_python(["-S", "-c", CHOOSE_EACH], paths=[site_with_numpy_alone(tmp_path)])
    assert done.returncode == 0, done.stderr
    for message in json.loads(done.stdout).values():
        assert message.startswith("refused: ONNX Runtime is not installed")
        for extra in ("cpu", "gpu", "openvino"):
            assert f"astrom3-broker[{extra}]" in message


def test_the_remains_of_a_wheel_are_not_taken_for_one(tmp_path: Path) -> None:
    # What is left when one of two wheels is uninstalled: the folder, without the module in it.
    site = site_with_numpy_alone(tmp_path)
    (site / "onnxruntime" / "capi").mkdir(parents=True)
    done = run_python(["-S", "-c", CHOOSE_EACH], paths=[add_distribution(site, "onnxruntime-gpu", "1.31.1")])
    assert done.returncode == 0, done.stderr
    for message in json.loads(done.stdout).values():
        assert message.startswith("refused: ONNX Runtime is there but cannot be imported")
        assert "pip install --force-reinstall onnxruntime-gpu" in message


def test_importing_the_policy_does_not_import_the_runtime() -> None:
    script = "import sys, broker_plugin.engine.session; print('onnxruntime' in sys.modules)"
    assert run_python(["-c", script]).stdout.strip() == "False"


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_is_taken_and_named(device: str) -> None:
    choice = choose(device)
    driver = find_driver()
    assert isinstance(driver, Driver)
    assert choice == ProviderChoice(
        provider=CUDA_PROVIDER, options=CUDA_OPTIONS, device=Device.CUDA, reason=choice.reason
    )
    assert pickle.dumps(choice)
    assert driver.gpus[0] in choice.reason
    assert choice.warnings == ()
    session = open_session(PROBE, choice)
    product = session.run({"x": PROBE_INPUT})["y"].item()
    assert abs(product - PROBE_OUTPUT) <= PROBE_TOLERANCE  # a convolution by Fourier transform rounds


@pytest.mark.skipif(sys.platform != "linux", reason="the stand-in for the driver is a Linux library")
@pytest.mark.parametrize(("gpus", "taken"), [(0, [0, 0, 0, 0]), (1, [0, 0, 0, 0]), (3, [0, 1, 2, 0])])
def test_workers_are_dealt_out_to_the_gpus(tmp_path: Path, gpus: int, taken: list[int]) -> None:
    script = (
        "from broker_plugin.engine.cuda import gpu_of_worker; print([gpu_of_worker(n) for n in range(4)])"
    )
    done = run_python(["-c", script], libraries=driver_library(tmp_path, gpus=gpus))
    assert done.stdout.strip() == str(taken), done.stderr


def test_the_first_gpu_is_taken_without_its_number_and_another_by_it() -> None:
    assert cuda_options(0) == CUDA_OPTIONS
    assert cuda_options(2) == {**CUDA_OPTIONS, "device_id": "2"}
    assert pickle.dumps(cuda_options(0))  # a worker says what it took


@pytest.mark.gpu
def test_every_gpu_computes_for_its_worker_and_is_named() -> None:
    driver = find_driver()
    assert isinstance(driver, Driver)
    for worker in range(len(driver.gpus) + 1):
        choice = choose("cuda", worker=worker)
        gpu = worker % len(driver.gpus)
        assert choice.options == cuda_options(gpu)
        assert len(driver.gpus) == 1 or f"GPU {gpu} of 0 to {len(driver.gpus) - 1}, " in choice.reason
        product = open_session(PROBE, choice).run({"x": PROBE_INPUT})["y"].item()
        assert abs(product - PROBE_OUTPUT) <= PROBE_TOLERANCE


@pytest.mark.gpu
def test_a_hidden_gpu_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = run_python(["-c", CHOOSE_EACH])
    said = json.loads(done.stdout)
    assert said["auto"].startswith("auto took cpu: the NVIDIA driver finds no GPU")
    assert "CUDA_VISIBLE_DEVICES" in said["cuda"]
