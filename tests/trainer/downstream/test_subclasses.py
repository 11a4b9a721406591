# SPDX-License-Identifier: BSD-3-Clause
"""Clusters agree with subclasses where there are any, and only then."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from broker_plugin.errors import ConfigurationError
from tests.trainer.downstream.made import DIM, on_sphere, write_made
from trainer.downstream.manifold import map_of
from trainer.downstream.storage import read_embeddings
from trainer.downstream.subclasses import KNOWN, cluster, measure_subclasses

LPV = next(known for known in KNOWN if known.label == "LPV")
N = 240


def measured(tmp_path: Path, rng: np.random.Generator, vectors: np.ndarray, half: np.ndarray) -> dict:
    types = np.where(half, "M", "SRA")
    types[::4] = ""  # a quarter is not in the other catalogue
    write_made(tmp_path / "e.parquet", rng, N, label=["LPV"] * N, other_type=[each or None for each in types])
    table = read_embeddings(tmp_path / "e.parquet")
    found = measure_subclasses(table, LPV, {"fused": vectors}, seeds=[1, 2])
    assert found is not None
    return found["by_space"]["fused"]


def test_separate_subclasses_are_found(tmp_path: Path, rng: np.random.Generator) -> None:
    half = np.arange(N) % 2 == 0
    vectors = on_sphere(np.eye(DIM)[half.astype(int)] + rng.normal(0, 0.05, (N, DIM)))
    found = measured(tmp_path, rng, vectors, half)
    assert found["ami_2"]["mean"] == pytest.approx(1)
    assert found["ami"]["mean"] == pytest.approx(1)
    assert found["clusters"]["mean"] == 2
    assert found["p_2"]["mean"] == pytest.approx(1 / 101)
    assert found["linear_auroc"] == 1


def test_without_structure_agreement_is_chance(tmp_path: Path, rng: np.random.Generator) -> None:
    half = rng.random(N) < 0.5
    found = measured(tmp_path, rng, on_sphere(rng.normal(0, 1, (N, DIM))), half)
    # Adjusted for chance: zero in the mean, and some hundredths about it for 180 objects.
    assert abs(found["chance_2"]["mean"]) < 0.01
    assert abs(found["ami_2"]["mean"]) < 0.05
    assert found["linear_auroc"] == pytest.approx(0.5, abs=0.15)


def test_too_few_members_are_not_measured(tmp_path: Path, rng: np.random.Generator) -> None:
    write_made(tmp_path / "e.parquet", rng, 30, label=["LPV"] * 30)
    table = read_embeddings(tmp_path / "e.parquet")
    assert measure_subclasses(table, LPV, {"fused": table.vectors["fused"]}, seeds=[1]) is None


def test_the_number_of_clusters_is_that_of_the_best_silhouette(rng: np.random.Generator) -> None:
    code = np.arange(300) % 4
    vectors = on_sphere(np.eye(DIM)[code] + rng.normal(0, 0.05, (300, DIM)))
    assert len(np.unique(cluster(vectors, None, seed=1))) == 4
    assert len(np.unique(cluster(vectors, 2, seed=1))) == 2


def test_a_map_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ConfigurationError, match=r"\[map\]"):
        map_of(np.eye(20, dtype=np.float32))
