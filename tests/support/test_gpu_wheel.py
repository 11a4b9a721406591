# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.gpu_wheel import in_gpu_wheel

pytestmark = pytest.mark.gpu_wheel

ASK = """
import json, sys
import onnxruntime
available = onnxruntime.get_available_providers()
wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"]
session = onnxruntime.InferenceSession(sys.argv[1], providers=wanted)
print(json.dumps([available, session.get_providers()]))
"""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    from onnx import TensorProto, helper, save

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in ("x", "y")]
    body = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "square", value[:1], value[1:])
    path = tmp_path / "square.onnx"
    save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_the_wheel_lists_cuda_but_runs_on_the_cpu_without_a_gpu(gpu_wheel_python: Path, graph: Path) -> None:
    done = in_gpu_wheel(gpu_wheel_python, ["-c", ASK, str(graph)])
    assert done.returncode == 0, done.stderr
    available, used = json.loads(done.stdout)
    assert "CUDAExecutionProvider" in available
    assert used == ["CPUExecutionProvider"]
    assert "CUDA" in done.stderr  # a line there is all the notice that a user gets


def test_this_checkout_is_importable_without_the_cpu_wheel_and_torch(gpu_wheel_python: Path) -> None:
    code = (
        "import importlib.metadata as m, importlib.util as u, broker_plugin.records;"
        "names = {d.metadata['Name'] for d in m.distributions()};"
        "assert 'onnxruntime-gpu' in names and 'onnxruntime' not in names, names;"
        "assert u.find_spec('torch') is None"
    )
    done = in_gpu_wheel(gpu_wheel_python, ["-c", code])
    assert done.returncode == 0, done.stderr
