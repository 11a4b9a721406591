# SPDX-License-Identifier: BSD-3-Clause
"""Laws of retrieval: chance is chance, and the same embedding finds itself."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.multimodal import TRIMODAL, multimodal_settings
from trainer.inference import Encoded
from trainer.object_runs import prepare_objects
from trainer.preparation import validation_set
from trainer.retrieval import RETRIEVAL, lines_of, measure_retrieval, recall_at, retrieval
from trainer.training import train
from trainer.training_sets import TrainingSets


def unit_vectors(rng: np.random.Generator, n: int, dim: int = 8) -> np.ndarray:
    vectors = rng.normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_an_embedding_finds_itself(rng: np.random.Generator) -> None:
    vectors = unit_vectors(rng, 50)
    assert recall_at(vectors, vectors, [1, 5]) == [1.0, 1.0]


def test_unrelated_embeddings_find_each_other_by_chance(rng: np.random.Generator) -> None:
    query, target = unit_vectors(rng, 2000), unit_vectors(rng, 2000)
    for k, found in zip((20, 200), recall_at(query, target, (20, 200)), strict=True):
        chance = k / 2000
        # Five standard deviations of a binomial share.
        assert found == pytest.approx(chance, abs=5 * np.sqrt(chance / 2000))


def test_embeddings_that_are_all_the_same_give_chance(rng: np.random.Generator) -> None:
    same = np.tile(unit_vectors(rng, 1), (40, 1))
    assert recall_at(same, same, [1, 10, 40]) == pytest.approx([1 / 40, 10 / 40, 1.0], abs=1e-12)


def test_recall_grows_with_k_and_reaches_one(rng: np.random.Generator) -> None:
    found = recall_at(unit_vectors(rng, 60), unit_vectors(rng, 60), [1, 5, 20, 60])
    assert found == sorted(found)
    assert found[-1] == 1.0


def test_only_objects_with_both_modalities_count(rng: np.random.Generator) -> None:
    embeddings = torch.from_numpy(np.stack([unit_vectors(rng, 30), unit_vectors(rng, 30)], axis=1))
    present = torch.ones(30, 2, dtype=torch.bool)
    present[20:, 1] = False
    results = retrieval(Encoded(embeddings=embeddings, present=present), ["one", "other"])
    assert set(results) == {"one->other", "other->one"}
    assert results["one->other"]["n"] == 20
    assert results["one->other"]["recall@5"]["chance"] == 0.25


def test_a_run_writes_its_retrieval_and_says_that_it_is_simulated(simulated: Path, tmp_path: Path) -> None:
    prepared = prepare_objects(multimodal_settings(TRIMODAL), simulated, tmp_path, say=lambda line: None)
    train(prepared.run, tmp_path, TrainingSets(prepared), validation_set(prepared))
    results = measure_retrieval(prepared, tmp_path)
    assert json.loads((tmp_path / RETRIEVAL).read_text()) == results
    assert len(results["pairs"]) == 6
    lines = list(lines_of(results))
    assert "SIMULATED" in lines[0]
    assert all("chance" in line for line in lines[1:])
