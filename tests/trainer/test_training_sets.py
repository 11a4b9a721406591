# SPDX-License-Identifier: BSD-3-Clause
"""What a pass is trained on: windows of any length, classes alike among all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trainer.synthetic import tiny_settings
from trainer.data.splits import Split
from trainer.outliers import Oddity
from trainer.preparation import Prepared, n_runs, prepare, run_set
from trainer.sets import ExampleSet
from trainer.training_sets import TrainingSets

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
    assert sum(len(runs) for runs in made.values() if runs is not None) == n_runs(with_runs)


def test_no_runs_where_none_are_wanted(prepared: Prepared) -> None:
    assert run_set(prepared, 10) is None
    assert n_runs(prepared) == 0


def test_a_pass_draws_other_windows_and_the_same_ones_again(with_runs: Prepared) -> None:
    sets = TrainingSets(with_runs)
    one, again, other = (windows_of(sets(number), with_runs) for number in (0, 0, 2))
    assert np.array_equal(one.star, again.star)
    assert not np.array_equal(one.star, other.star)
    odd = one.oddity != Oddity.ORDINARY
    assert abs(odd.mean() - 0.2) < 0.01
    assert len(one) == N_WINDOWS


def test_classes_have_the_same_share_at_any_length(with_runs: Prepared) -> None:
    drawn = windows_of(TrainingSets(with_runs)(0), with_runs)
    ordinary = drawn.take(np.flatnonzero(drawn.oddity == Oddity.ORDINARY))
    short, long = (ordinary.label[part] for part in (ordinary.n_epochs <= 14, ordinary.n_epochs > 42))
    n = len(np.unique(ordinary.label))
    shares = [np.bincount(part, minlength=n) / len(part) for part in (short, long)]
    # 200 windows or more in each: five standard deviations of a share of a seventh.
    assert np.abs(shares[0] - shares[1]).max() < 5 * np.sqrt(2 * 1 / n * (1 - 1 / n) / 200)
