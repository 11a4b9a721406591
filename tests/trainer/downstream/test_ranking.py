# SPDX-License-Identifier: BSD-3-Clause
"""Every object is ranked by forests and p-values that it took no part in."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import SEED
from tests.trainer.downstream.made import DIM, blobs, on_sphere
from trainer.downstream.ranking import CLASS_MIN, Ranking, rank_objects
from trainer.stream.measure import ks_distance
from trainer.stream.pooling import STRATUM_MIN

N = 1200


def planted(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Objects of three classes, the last twelve of them between all classes and of none."""
    vectors, label = blobs(rng, N, spread=0.1)
    vectors[-12:] = on_sphere(-np.ones((12, DIM)) + rng.normal(0, 0.1, (12, DIM)))
    label[-12:] = -1
    return vectors, label


def ranked(vectors: np.ndarray, label: np.ndarray) -> Ranking:
    stratum = np.full(len(vectors), "light_curve+metadata/16+")
    return rank_objects(vectors, label, stratum, np.arange(len(vectors)), seed=3)


@pytest.fixture(scope="module")
def objects() -> tuple[np.ndarray, np.ndarray, Ranking]:
    """Vectors, labels and their ranking, which takes a second."""
    vectors, label = planted(np.random.default_rng(SEED))
    return vectors, label, ranked(vectors, label)


def test_p_values_are_uniform_on_the_ordinary_and_small_on_the_planted(
    objects: tuple[np.ndarray, np.ndarray, Ranking],
) -> None:
    _, label, found = objects
    for each in (found.of_all, found.of_classes):
        # Some 1,200 p-values: twice the distance that chance exceeds once in twenty.
        assert ks_distance(each.p_value[label >= 0]) < 0.08
        assert (each.p_value[label < 0] <= 0.01).all()
        # The strangest ordinary objects share the smallest p-values.
        assert set(np.flatnonzero(label < 0)) <= set(each.order()[:24])
    assert (found.calibration_n >= STRATUM_MIN).all()


def test_what_is_not_ordinary_changes_nothing_for_the_others(
    objects: tuple[np.ndarray, np.ndarray, Ranking], rng: np.random.Generator
) -> None:
    vectors, label, one = objects
    changed = vectors.copy()
    changed[label < 0] = on_sphere(rng.normal(0, 1, (12, DIM)))
    other = ranked(changed, label)
    for kind in ("of_all", "of_classes"):
        assert np.array_equal(
            getattr(one, kind).p_value[label >= 0], getattr(other, kind).p_value[label >= 0]
        )


def test_the_nearest_class_is_the_own_one(objects: tuple[np.ndarray, np.ndarray, Ranking]) -> None:
    _, label, found = objects
    assert (found.nearest == label)[label >= 0].mean() > 0.95


def test_a_class_with_few_members_has_no_forest(rng: np.random.Generator) -> None:
    vectors, label = blobs(rng, N, spread=0.1)
    label[: CLASS_MIN // 2] = 3
    found = ranked(vectors, label)
    assert found.without_forest == (3,)
    assert 3 not in found.nearest


def test_small_strata_are_widened_by_what_stands_last(rng: np.random.Generator) -> None:
    vectors, label = blobs(rng, 3000, spread=0.1)
    stratum = np.full(3000, "light_curve+metadata/16+")
    stratum[:60] = "light_curve+metadata/8-15"
    stratum[60:80] = "metadata/0-0"
    found = rank_objects(vectors, label, stratum, np.arange(3000), seed=1)
    assert set(found.stratum[80:]) == {"light_curve+metadata/16+"}
    assert set(found.stratum[:60]) == {"light_curve+metadata"}
    assert set(found.stratum[60:80]) == {"all"}
