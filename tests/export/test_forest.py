# SPDX-License-Identifier: BSD-3-Clause
"""The forest's graph against scikit-learn, on rows made to tell wrong roundings apart."""

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from export.forest import forest_graph
from export.parity import session
from trainer.anomaly import ForestSet, adversarial_neighbours, fit_single

BATCH = 256


@pytest.fixture(scope="module")
def embedding() -> NDArray[np.float32]:
    vectors = np.random.default_rng(1).normal(size=(1000, 12))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def forest(embedding: NDArray[np.float32]) -> ForestSet:
    """A global forest and two of classes."""
    parts = (embedding, embedding[:200], embedding[200:300])
    return ForestSet(members=tuple(fit_single(part, seed=k).members[0] for k, part in enumerate(parts)))


def run(graph: bytes, rows: NDArray[np.float32], *, threads: int = 1) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = session(graph, threads=threads).run(None, {"embedding": rows})[0]
    return scores


def test_scores_are_those_of_scikit_learn(forest: ForestSet, embedding: NDArray[np.float32]) -> None:
    arrays = forest.arrays()
    probes = np.concatenate([embedding, adversarial_neighbours(arrays, embedding, seed=1)])
    found = run(forest_graph(arrays), probes)
    assert found.shape == (2000, 3)
    # float64 throughout, one rounding to float32 at the end; a row sent the wrong way moves by 1e-4 or more.
    np.testing.assert_allclose(found, forest.targets(probes), atol=1e-6, rtol=0)


def test_scores_of_adjacent_float32_values_are_those_of_scikit_learn() -> None:
    steps = np.random.default_rng(3).integers(0, 6, (2000, 4))
    close = (np.float32(1.0) + steps * np.spacing(np.float32(1.0))).astype(np.float32)
    forest = fit_single(close, seed=1)
    found = run(forest_graph(forest.arrays()), close)
    np.testing.assert_allclose(found, forest.targets(close), atol=1e-6, rtol=0)  # as above


def test_bits_depend_on_neither_place_nor_threads(
    forest: ForestSet, embedding: NDArray[np.float32], rng: np.random.Generator
) -> None:
    graph = forest_graph(forest.arrays())
    rows = embedding[:BATCH]
    expected = run(graph, rows)
    for threads in (1, 2, 3):
        order = rng.permutation(BATCH)
        assert np.array_equal(run(graph, rows[order], threads=threads), expected[order])


def test_all_trees_are_one_node(forest: ForestSet) -> None:
    graph = onnx.load_from_string(forest_graph(forest.arrays())).graph
    assert [node.op_type for node in graph.node].count("TreeEnsemble") == 1
    assert len(graph.node) <= 5
