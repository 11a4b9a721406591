# SPDX-License-Identifier: BSD-3-Clause
"""ONNX graphs for tests of the engine, made with the `onnx` package."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["attention_graph", "attention_inputs", "crowd_graph", "forest_graph"]

WIDTH, HIDDEN = 9, 64
OPSET, IR_VERSION = 17, 9


def attention_graph(rng: np.random.Generator) -> bytes:
    """One head of self-attention over `tokens` (B, T, 9), pooled to `embedding` (B, 64), any B and T.

    The scores are reshaped to a shape that is computed from the input's, so that the graph has arithmetic on
    shapes as exported encoders have.
    """
    weights = {
        name: (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)
        for name, shape in {"wq": (WIDTH, HIDDEN), "wk": (WIDTH, HIDDEN), "wv": (WIDTH, HIDDEN)}.items()
    }
    constants = {
        "first": np.array([0], np.int64),
        "second": np.array([1], np.int64),
        "scale": np.array(HIDDEN**-0.5, np.float32),
    }
    nodes = [
        *(helper.make_node("MatMul", ["tokens", f"w{name}"], [name]) for name in "qkv"),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["raw"]),
        helper.make_node("Mul", ["raw", "scale"], ["scaled"]),
        helper.make_node("Shape", ["tokens"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["b"], axis=0),
        helper.make_node("Gather", ["shape", "second"], ["t"], axis=0),
        helper.make_node("Concat", ["b", "t", "t"], ["square"], axis=0),
        helper.make_node("Reshape", ["scaled", "square"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["attention"], axis=-1),
        helper.make_node("MatMul", ["attention", "v"], ["mixed"]),
        helper.make_node("ReduceMean", ["mixed"], ["embedding"], axes=[1], keepdims=0),
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in (weights | constants).items()]
    return _model(nodes, {"tokens": ["B", "T", WIDTH]}, {"embedding": ["B", HIDDEN]}, initializers)


def attention_inputs(rng: np.random.Generator, batch: int, length: int) -> dict[str, NDArray[np.float32]]:
    """Tokens for `attention_graph`."""
    return {"tokens": rng.standard_normal((batch, length, WIDTH)).astype(np.float32)}


def forest_graph() -> bytes:
    """One tree with one split: `embedding` (B, 2) at or below 0.5 in its first column -> 1.0, else 2.0."""
    tree = helper.make_node(
        "TreeEnsembleRegressor",
        ["embedding"],
        ["score"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_values=[0.5, 0.0, 0.0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 0],
        target_weights=[1.0, 2.0],
    )
    return _model([tree], {"embedding": ["B", 2]}, {"score": ["B", 1]}, [])


def crowd_graph(*, from_rows: int) -> bytes:
    """`tokens` (B, 9) -> `embedding` (B, 9): doubled in a batch of so many rows or more, else as they are."""
    nodes = [
        helper.make_node("Shape", ["tokens"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["rows"], axis=0),
        helper.make_node("Less", ["rows", "limit"], ["few"]),
        helper.make_node("Where", ["few", "one", "two"], ["factor"]),
        helper.make_node("Mul", ["tokens", "factor"], ["embedding"]),
    ]
    constants = {
        "first": np.array(0, np.int64),
        "limit": np.array(from_rows, np.int64),
        "one": np.array(1, np.float32),
        "two": np.array(2, np.float32),
    }
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return _model(nodes, {"tokens": ["B", WIDTH]}, {"embedding": ["B", WIDTH]}, initializers)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[str | int]],
    outputs: dict[str, list[str | int]],
    initializers: list[onnx.TensorProto],
) -> bytes:
    def values(shapes: dict[str, list[str | int]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in shapes.items()]

    graph = helper.make_graph(nodes, "test", values(inputs), values(outputs), initializers)
    domains = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
