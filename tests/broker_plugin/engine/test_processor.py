# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest

from broker_plugin.engine.processor import PRODUCT, PRODUCT_SHAPE, describe_processor, matmul_gflops


def test_the_graph_is_the_product_that_its_docstring_says() -> None:
    model = onnx.load_from_string(PRODUCT)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["MatMul"]
    rows, inner, columns = PRODUCT_SHAPE
    shapes = [
        [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    ]
    assert shapes == [[rows, inner], [inner, columns], [rows, columns]]


def test_the_rate_is_one_that_a_core_can_have() -> None:
    # From a slow core without vector units, ten times shared, to one with units twice as wide as today's.
    assert 0.1 < matmul_gflops() < 1000


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="only Linux tells what its processor has")
def test_the_processor_is_what_the_system_says() -> None:
    processor = describe_processor()
    flags = Path("/proc/cpuinfo").read_text("utf-8").split()
    assert processor.cores == len(os.sched_getaffinity(0))
    assert processor.name
    assert set(processor.features) <= set(flags)
    assert ("avx2" in processor.features) == ("avx2" in flags)
