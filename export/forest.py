# SPDX-License-Identifier: BSD-3-Clause
"""An isolation forest as one ONNX node.

All trees of all targets go into a single `TreeEnsemble`, whose leaves hold path lengths already divided by
their norm; what is left is 2 to the minus sum. One node runs several times faster than a node a tree.

ONNX Runtime adds the trees up in an order that depends on its threads. The weights are therefore multiples of
`WEIGHT_STEP`, of which float64 adds thousands without rounding: the sum is the same in any order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from trainer.anomaly import ForestArrays

__all__ = ["forest_graph"]

TREE_OPSET = 5
"""First operator set with `TreeEnsemble`: a tenth of the bytes of `TreeEnsembleRegressor`, whose nodes carry
their comparison as text."""

OPSET, IR_VERSION = 20, 10

WEIGHT_STEP = 2.0**-40
"""Grid of the leaf weights: sums below 2 are exact in float64, and the score moves by less than 1e-10."""

BRANCH_LEQ = 0
SUM, NO_TRANSFORM = 1, 0


def forest_graph(forest: ForestArrays) -> bytes:
    """Return the graph `embedding` (B, D) -> `score` (B, targets), larger is stranger."""
    nodes = [
        helper.make_node("Cast", ["embedding"], ["exact"], to=TensorProto.DOUBLE),
        helper.make_node(
            "TreeEnsemble",
            ["exact"],
            ["path"],
            domain="ai.onnx.ml",
            aggregate_function=SUM,
            post_transform=NO_TRANSFORM,
            n_targets=forest.n_targets,
            **_attributes(forest),
        ),
        helper.make_node("Neg", ["path"], ["minus_path"]),
        helper.make_node("Pow", ["two", "minus_path"], ["exact_score"]),
        helper.make_node("Cast", ["exact_score"], ["score"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "isolation_forest",
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", forest.n_features])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", forest.n_targets])],
        [numpy_helper.from_array(np.array([2.0]), "two")],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", TREE_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _attributes(forest: ForestArrays) -> dict[str, Any]:
    inner = np.flatnonzero(forest.feature >= 0)
    leaf = np.flatnonzero(forest.feature < 0)
    position = np.zeros(len(forest.feature), np.int64)
    position[inner] = np.arange(len(inner))
    position[leaf] = np.arange(len(leaf))
    is_leaf = forest.feature < 0
    # Every node belongs to the last tree that begins at or before it.
    tree = np.searchsorted(forest.roots, leaf, side="right") - 1
    left, right = forest.left[inner], forest.right[inner]
    weight = np.round(forest.weight[leaf] / WEIGHT_STEP) * WEIGHT_STEP
    if is_leaf[forest.roots].any():
        raise ValueError("a tree has no split: its class has too few distinct objects for a forest")
    return {
        "tree_roots": _ints(position[forest.roots]),
        "nodes_featureids": _ints(forest.feature[inner]),
        "nodes_splits": numpy_helper.from_array(forest.threshold[inner].astype(np.float64), "nodes_splits"),
        "nodes_modes": numpy_helper.from_array(np.full(len(inner), BRANCH_LEQ, np.uint8), "nodes_modes"),
        "nodes_truenodeids": _ints(position[left]),
        "nodes_trueleafs": _ints(is_leaf[left]),
        "nodes_falsenodeids": _ints(position[right]),
        "nodes_falseleafs": _ints(is_leaf[right]),
        "leaf_targetids": _ints(forest.target[tree]),
        "leaf_weights": numpy_helper.from_array(weight, "leaf_weights"),
    }


def _ints(values: NDArray[np.generic]) -> list[int]:
    return [int(value) for value in values]
