# SPDX-License-Identifier: BSD-3-Clause
"""A made-up catalogue and a run that was trained on it, for all tests of the trainer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.synthetic import tiny_settings, write_catalogue
from trainer.preparation import Prepared, prepare, validation_set
from trainer.simulate.dataset import write_simulation
from trainer.training import train
from trainer.training_sets import TrainingSets

collect_ignore = ["stamp"]
"""A modality put on the packages' path by its test: the runtime's and the encoder's file share their name."""


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data folder with 22 stars of each class."""
    data = tmp_path_factory.mktemp("data")
    write_catalogue(data, stars_per_class=22)
    return data


@pytest.fixture(scope="session")
def prepared(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A run with its stars, before any training."""
    return prepare(tiny_settings(), catalogue, tmp_path_factory.mktemp("run"), say=lambda line: None)


@pytest.fixture(scope="session")
def trained(prepared: Prepared) -> Path:
    """Folder of the same run after its three passes."""
    folder = prepared.cache.parent
    train(prepared.run, folder, TrainingSets(prepared), validation_set(prepared))
    return folder


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of simulated objects with three modalities."""
    path = tmp_path_factory.mktemp("simulated") / "stars.parquet"
    write_simulation(path, 200, seed=5)
    return path
