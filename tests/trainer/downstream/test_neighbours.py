# SPDX-License-Identifier: BSD-3-Clause
"""Neighbours are the nearest other objects, and an object under a second name is not another one."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.downstream.made import blobs, on_sphere
from trainer.downstream.neighbours import chance_precision, nearest, precision
from trainer.downstream.similarity import FEATURES, LEARNED_FEATURES


def test_they_are_those_of_the_largest_cosine(rng: np.random.Generator) -> None:
    vectors = on_sphere(rng.normal(0, 1, (40, 5)))
    rows, distance = nearest(vectors, np.arange(40), 6)
    cosine = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    np.fill_diagonal(cosine, -2)
    assert np.array_equal(rows, np.argsort(-cosine, axis=1)[:, :6])
    # float32 vectors: sums of five products are good to 1e-6.
    assert np.allclose(1 - distance, -np.sort(-cosine, axis=1)[:, :6], atol=1e-6)


def test_no_object_is_its_own_neighbour_under_another_name(rng: np.random.Generator) -> None:
    vectors = on_sphere(rng.normal(0, 1, (60, 5)))
    group = np.arange(60) // 3
    vectors[1::3] = vectors[::3]
    rows, _ = nearest(vectors, group, 8)
    assert (group[rows] != group[:, None]).all()
    assert (np.diff(np.sort(rows, axis=1), axis=1) > 0).all()


def test_too_few_other_objects_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="not 3 other"):
        nearest(on_sphere(rng.normal(0, 1, (4, 5))), np.array([0, 0, 1, 2]), 3)


def test_precision_is_one_for_classes_apart_and_chance_without_any(rng: np.random.Generator) -> None:
    vectors, code = blobs(rng, 300, spread=0.05)
    label = np.array(["a", "b", "c"])[code]
    assert precision(nearest(vectors, np.arange(300), 10)[0], label).mean() == 1.0
    shuffled = rng.permutation(label)
    found = precision(nearest(vectors, np.arange(300), 10)[0], shuffled).mean()
    # 3,000 neighbours, correlated within ten: the error of the mean is about 0.02.
    assert found == pytest.approx(chance_precision(shuffled).mean(), abs=0.06)


def test_the_names_of_the_spaces_differ_from_those_of_modalities() -> None:
    assert len({FEATURES, LEARNED_FEATURES, "fused", "light_curve"}) == 4
