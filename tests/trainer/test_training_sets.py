# SPDX-License-Identifier: BSD-3-Clause
"""What a pass is trained on: windows of any length, classes alike among all of them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.synthetic import tiny_settings
from trainer.data.splits import Split
from trainer.outliers import Oddity
from trainer.preparation import Prepared, prepare
from trainer.sets import ExampleSet
from trainer.training_sets import TrainingSets, run_set
from trainer.windows import FIRST_EPOCHS

N_WINDOWS = 1000


@pytest.fixture(scope="module")
def with_runs(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A run with windows, a few stars of a class, and runs of 10 and 30 epochs for all."""
    data = {"windows_per_set": N_WINDOWS, "runs_per_star": (0, 0, 1, 3), "class_windows": 12}
    return prepare(
        tiny_settings(data=data), catalogue, tmp_path_factory.mktemp("runs"), say=lambda line: None
    )


def windows_of(examples: ExampleSet, prepared: Prepared) -> ExampleSet:
    return examples.take(np.arange(prepared.run.settings.data.alerts_per_set, len(examples)))


def test_runs_are_as_many_as_asked_for(with_runs: Prepared) -> None:
    stars = len(with_runs.members(Split.TRAIN))
    made = {n_epochs: run_set(with_runs, n_epochs) for n_epochs in (None, 100, 30, 10)}
    for n_epochs, least in ((None, 0), (100, 0), (30, stars), (10, 3 * stars)):
        runs = made[n_epochs]
        assert runs is not None
        assert len(runs) >= least
        assert np.bincount(runs.label).min() >= 12


def test_no_runs_where_none_are_wanted(prepared: Prepared) -> None:
    assert run_set(prepared, 10) is None


def test_a_pass_draws_other_windows_and_the_same_ones_again(with_runs: Prepared) -> None:
    sets = TrainingSets(with_runs)
    one, again, other = (windows_of(sets(number), with_runs) for number in (0, 0, 2))
    assert np.array_equal(one.star, again.star)
    assert not np.array_equal(one.star, other.star)
    odd = one.oddity != Oddity.ORDINARY
    assert abs(odd.mean() - 0.2) < 0.01
    assert len(one) == N_WINDOWS


def test_a_class_of_two_stars_has_its_windows_at_every_length(with_runs: Prepared) -> None:
    train = with_runs.members(Split.TRAIN)
    rare = train[with_runs.stars.label[train] == 0]
    split = with_runs.split.copy()
    split[rare[2:]] = Split.TEST
    scarce = replace(with_runs, split=split, cache=with_runs.cache.parent / "scarce")
    scarce.cache.mkdir()
    shutil.copy(with_runs.stars_path, scarce.stars_path)
    pools = TrainingSets(scarce)._pools
    assert len(pools) == len(FIRST_EPOCHS) + 1
    for pool in pools:
        stars = np.concatenate([part.star for part in pool])
        assert np.isin(stars, rare[:2]).sum() >= 12
        assert not np.isin(stars, rare[2:]).any()
