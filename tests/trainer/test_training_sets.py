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
from trainer.outliers import UNASKED, Oddity
from trainer.preparation import Prepared, prepare
from trainer.sets import ExampleSet
from trainer.tempering import tempered
from trainer.training_sets import TrainingSets, run_set
from trainer.windows import FIRST_EPOCHS

N_WINDOWS = 1000


@pytest.fixture(scope="module")
def with_runs(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A run with windows, a few stars of a class, and runs of 10 and 30 epochs for all."""
    data = {"windows_per_set": N_WINDOWS, "runs_per_star": (0, 0, 1, 3, 0, 0), "class_windows": 12}
    return prepare(
        tiny_settings(data=data), catalogue, tmp_path_factory.mktemp("runs"), say=lambda line: None
    )


def windows_of(examples: ExampleSet, prepared: Prepared) -> ExampleSet:
    return examples.take(np.arange(prepared.run.settings.data.alerts_per_set, len(examples)))


def test_runs_are_as_many_as_asked_for(with_runs: Prepared) -> None:
    stars = len(with_runs.members(Split.TRAIN))
    for n_epochs, of_star in ((None, 0), (100, 0), (30, 1), (10, 3)):
        runs = run_set(with_runs, n_epochs)
        assert runs is not None
        assert len(runs) >= of_star * stars
        assert np.bincount(runs.label).min() >= 12  # all classes are scarce here


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


def test_cuts_come_beside_the_windows(catalogue: Path, tmp_path: Path) -> None:
    data = {"windows_per_set": 100, "cuts_per_set": 300}
    cut = prepare(tiny_settings(data=data), catalogue, tmp_path, say=lambda line: None)
    sets, told = TrainingSets(cut), []
    assert len(windows_of(sets(0), cut)) == 400
    drawn = sets(0).take(np.arange(len(sets(0)) - 300, len(sets(0))))
    assert np.isin(drawn.star, cut.members(Split.TRAIN)).all()
    assert (drawn.oddity == UNASKED).all()
    TrainingSets(cut, advance=told.append)
    assert sum(told) == TrainingSets.size(cut)


@pytest.fixture(scope="module")
def scarce(with_runs: Prepared) -> Prepared:
    """The same run, of whose first class only two stars are trained on."""
    train = with_runs.members(Split.TRAIN)
    split = with_runs.split.copy()
    split[train[with_runs.stars.label[train] == 0][2:]] = Split.TEST
    few = replace(with_runs, split=split, cache=with_runs.cache.parent / "scarce")
    few.cache.mkdir()
    shutil.copy(with_runs.stars_path, few.stars_path)
    return few


def test_a_class_of_two_stars_has_its_windows_at_every_length(scarce: Prepared, with_runs: Prepared) -> None:
    before = with_runs.members(Split.TRAIN)
    rare = before[with_runs.stars.label[before] == 0]
    pools = TrainingSets(scarce)._pools
    assert len(pools) == len(FIRST_EPOCHS) + 1
    for pool in pools:
        stars = np.concatenate([part.star for part in pool])
        assert np.isin(stars, rare[:2]).sum() >= 12
        assert not np.isin(stars, rare[2:]).any()


def test_classes_have_the_shares_that_the_prior_shift_counts_on(scarce: Prepared) -> None:
    wanted = tempered(np.bincount(scarce.stars.label[scarce.members(Split.TRAIN)]))
    sets, passes, n, rng = TrainingSets(scarce), 12, 2000, np.random.default_rng(3)
    drawn = [sets._drawn(pool, n, rng) for pool in sets._pools]  # one a length
    drawn.append(
        [windows_of(sets(number), scarce) for number in range(passes)]
    )  # those that were made odd too
    for parts in drawn:
        star = np.concatenate([part.star for part in parts])
        found = np.bincount(scarce.stars.label[star], minlength=len(wanted)) / len(star)
        # By its windows, of which all have as many, the class of two stars would have a share of 0.1.
        assert np.abs(found - wanted).max() < 4 * np.sqrt(0.1 / len(star))
