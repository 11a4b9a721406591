# SPDX-License-Identifier: BSD-3-Clause
"""Forests as arrays against scikit-learn's own."""

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.anomaly import ForestArrays, ForestSet, adversarial_neighbours, fit_single


def path_scores(forest: ForestArrays, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Walk every row down every tree."""
    total = np.zeros((len(rows), forest.n_targets))
    for position, row in enumerate(rows):
        for root, target in zip(forest.roots, forest.target, strict=True):
            node = int(root)
            while forest.feature[node] >= 0:
                goes_left = row[forest.feature[node]] <= forest.threshold[node]
                node = int(forest.left[node] if goes_left else forest.right[node])
            total[position, target] += forest.weight[node]
    return np.asarray(2.0**-total)


@pytest.fixture
def embedding(rng: np.random.Generator) -> NDArray[np.float32]:
    vectors = rng.normal(size=(400, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_arrays_give_the_scores_of_scikit_learn(embedding: NDArray[np.float32]) -> None:
    forest = ForestSet(
        members=(*fit_single(embedding, seed=1).members, *fit_single(embedding[:90], seed=2).members)
    )
    arrays = forest.arrays()
    probes = np.concatenate([embedding[:40], adversarial_neighbours(arrays, embedding[:40], seed=1)])
    # Sums of float64 path lengths, divided before instead of after adding.
    np.testing.assert_allclose(path_scores(arrays, probes), forest.targets(probes), atol=1e-12)


def test_a_threshold_rounded_to_nearest_would_be_caught(embedding: NDArray[np.float32]) -> None:
    # Values of adjacent float32 numbers put every threshold between two of them.
    steps = np.random.default_rng(2).integers(0, 6, (300, 4))
    close = (np.float32(1.0) + steps * np.spacing(np.float32(1.0))).astype(np.float32)
    forest = fit_single(close, seed=1)
    arrays = forest.arrays()
    np.testing.assert_allclose(path_scores(arrays, close[:60]), forest.targets(close[:60]), atol=1e-12)
    member = forest.members[0]
    exact = np.concatenate([tree.tree_.threshold[tree.tree_.feature >= 0] for tree in member.estimators_])
    assert (exact.astype(np.float32).astype(np.float64) > exact).any()


def test_larger_is_stranger(rng: np.random.Generator) -> None:
    ordinary = rng.normal(0, 0.1, (500, 6)).astype(np.float32)
    odd = rng.normal(3, 0.1, (50, 6)).astype(np.float32)
    forest = fit_single(ordinary, seed=1)
    assert np.median(forest.score(odd)) > np.quantile(forest.score(ordinary), 0.99)
