# SPDX-License-Identifier: BSD-3-Clause
"""Labels are doubted where probabilities that never saw them say otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.downstream.made import blobs
from trainer.downstream.confident import audit_labels, centroid_distance, cross_fitted
from trainer.downstream.flips import SHARE, flipped, measure_audit, precision_at


def test_right_probabilities_find_exactly_the_flipped_labels(rng: np.random.Generator) -> None:
    truth = rng.integers(0, 4, 2000)
    probability = np.full((2000, 4), 0.02)
    probability[np.arange(2000), truth] = 0.94
    given = truth.copy()
    wrong = np.arange(0, 2000, 20)
    given[wrong] = (truth[wrong] + 1) % 4
    found = audit_labels(probability, given)
    assert np.array_equal(np.flatnonzero(found.candidate), wrong)
    assert np.array_equal(found.suggested[wrong], truth[wrong])
    assert set(found.order()[: len(wrong)]) == set(wrong)
    assert found.error_rate == pytest.approx(0.05)
    assert found.joint.sum() == pytest.approx(1)
    # Rows of the joint are the shares of the given labels.
    assert np.allclose(found.joint.sum(axis=1), np.bincount(given) / 2000)


def test_labels_that_agree_are_not_doubted(rng: np.random.Generator) -> None:
    truth = rng.integers(0, 3, 300)
    probability = rng.dirichlet((1, 1, 1), 300) * 0.4
    probability[np.arange(300), truth] += 0.6
    assert not audit_labels(probability, truth).candidate.any()
    assert audit_labels(probability, truth).error_rate == 0


def test_a_class_that_nobody_has_is_never_suggested_confidently(rng: np.random.Generator) -> None:
    probability = rng.dirichlet((1, 1, 1), 200)
    found = audit_labels(probability, rng.integers(0, 2, 200))
    assert not (found.suggested[found.candidate] == 2).any()
    assert np.isfinite(found.joint).all()


def test_no_label_takes_part_in_its_own_judgement(rng: np.random.Generator) -> None:
    # Nothing can be learned from noise; whoever judged its own label would find it likely.
    noise, given = rng.normal(0, 1, (400, 50)), rng.integers(0, 2, 400)
    own = cross_fitted(noise, given, np.arange(400), seed=1)[np.arange(400), given]
    assert own.mean() == pytest.approx(0.5, abs=0.05)
    # Nor a copy of its object under a second name.
    twice, group = np.repeat(noise[:200], 2, axis=0), np.repeat(np.arange(200), 2)
    own = cross_fitted(twice, np.repeat(given[:200], 2), group, seed=1)
    assert own[np.arange(400), np.repeat(given[:200], 2)].mean() == pytest.approx(0.5, abs=0.06)


def test_flips_go_where_classes_are_confused(rng: np.random.Generator) -> None:
    given = np.repeat([0, 1, 2], 400)
    probability = np.array([[0.8, 0.2, 0.0], [0.1, 0.8, 0.1], [0.0, 0.3, 0.7]])[given]
    noisy, wrong = flipped(given, probability, rng)
    assert wrong.sum() == round(SHARE * 1200)
    assert set(noisy[wrong & (given != 1)].tolist()) == {1}
    assert np.array_equal(noisy[~wrong], given[~wrong])


def test_planted_errors_are_found_among_separate_classes_and_not_at_random(rng: np.random.Generator) -> None:
    vectors, code = blobs(rng, 600)
    probability = np.full((600, 3), 0.1)
    probability[np.arange(600), code] = 0.8
    found = measure_audit(
        {"fused": vectors}, probability, code, np.arange(600), paper="fused", seeds=[1, 2, 3]
    )
    by_method = {name: each["precision@20"]["mean"] for name, each in found["by_method"].items()}
    assert by_method.pop("at random") < 0.2
    assert min(by_method.values()) > 0.9
    assert found["candidates"]["estimated_error_rate"]["mean"] == pytest.approx(SHARE, abs=0.02)


def test_the_centroid_is_of_the_own_label(rng: np.random.Generator) -> None:
    vectors, code = blobs(rng, 300, spread=0.05)
    given = code.copy()
    given[7] = (code[7] + 1) % 3
    assert centroid_distance(vectors, given, np.arange(300), seed=1).argmax() == 7


def test_precision_at_more_than_there_are_is_that_of_all() -> None:
    assert precision_at(np.array([1.0, 2.0]), np.array([True, False]), 5) == 0.5
