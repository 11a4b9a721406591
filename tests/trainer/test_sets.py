# SPDX-License-Identifier: BSD-3-Clause
"""Sets of imitated alerts: the same from any number of processes and from the cache."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer.checkpoint import training_key
from trainer.data.splits import Split
from trainer.plans import CUTS, cut_plan, natural_plan, tempered_plan
from trainer.preparation import Prepared, set_of_bin
from trainer.sets import ExampleSet, make_set


def assert_equal(one: ExampleSet, other: ExampleSet) -> None:
    assert np.array_equal(one.star, other.star)
    assert np.array_equal(one.n_epochs, other.n_epochs)
    for name, tokens in one.tokens.items():
        assert np.array_equal(tokens.values, other.tokens[name].values)
        assert np.array_equal(tokens.offsets, other.tokens[name].offsets)


def test_a_set_does_not_depend_on_the_number_of_processes(prepared: Prepared) -> None:
    plan = tempered_plan(prepared.stars.label, prepared.members(Split.TRAIN), n=700, seed=1)
    alone = make_set(plan, prepared.run.specs, prepared.stars_path)
    assert_equal(alone, make_set(plan, prepared.run.specs, prepared.stars_path, workers=2))


def test_the_cache_gives_the_same_set_and_knows_another_plan(prepared: Prepared, tmp_path: Path) -> None:
    members = prepared.members(Split.TRAIN)
    plan = tempered_plan(prepared.stars.label, members, n=60, seed=1)
    other = tempered_plan(prepared.stars.label, members, n=60, seed=2)
    cache = tmp_path / "set.npz"
    made = make_set(plan, prepared.run.specs, prepared.stars_path, cache=cache)
    written = cache.stat().st_mtime_ns
    assert_equal(made, make_set(plan, prepared.run.specs, prepared.stars_path, cache=cache))
    assert cache.stat().st_mtime_ns == written
    changed = make_set(other, prepared.run.specs, prepared.stars_path, cache=cache)
    assert not np.array_equal(changed.star, made.star)
    assert cache.stat().st_mtime_ns != written


def test_another_version_of_the_cut_makes_cuts_and_what_learns_of_them_anew(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members, settings = prepared.members(Split.TRAIN).astype(np.int64)[:5], prepared.run.settings
    plans = {
        "cuts": cut_plan(prepared.stars.label, members, of_class=0, seed=1),
        "imitated": tempered_plan(prepared.stars.label, members, n=20, seed=1),
    }
    data = settings.data.model_copy(update={"cuts_per_set": 300})
    with_cuts = replace(prepared.run, settings=settings.model_copy(update={"data": data}))

    def written() -> list[int]:
        for name, plan in plans.items():
            make_set(plan, prepared.run.specs, prepared.stars_path, cache=tmp_path / name)
        return [(tmp_path / name).stat().st_mtime_ns for name in plans]

    before, keys = written(), [training_key(run) for run in (with_cuts, prepared.run)]
    for module in ("sets", "checkpoint"):
        monkeypatch.setattr(f"trainer.{module}.CUT_VERSION", "other")
    after = written()
    assert after[0] > before[0]
    assert after[1] == before[1]
    assert training_key(with_cuts) != keys[0]
    assert training_key(prepared.run) == keys[1]


def test_a_plan_for_training_draws_classes_by_the_root_of_their_number(prepared: Prepared) -> None:
    members = prepared.members(Split.TRAIN)
    label = np.full(len(prepared.stars), 1)
    label[members[:1]] = 0
    plan = tempered_plan(label, members, n=1000, seed=1)
    root = np.sqrt(len(members) - 1)
    assert (label[plan.star] == 0).sum() == round(1000 / (1 + root))
    assert (prepared.split[plan.star] == Split.TRAIN).all()


def test_a_natural_plan_takes_each_star_once(prepared: Prepared) -> None:
    members = prepared.members(Split.TEST)
    plan = natural_plan(members, low=4, high=7, n=10_000, seed=1)
    assert sorted(plan.star.tolist()) == sorted(members.tolist())
    assert set(plan.n_epochs.tolist()) == {4, 5, 6, 7}


def test_a_set_of_a_bin_holds_what_the_bin_says(prepared: Prepared) -> None:
    many = set_of_bin(prepared, Split.TEST, 2, n=100, seed=1)
    assert many.n_epochs.min() >= 8
    assert (prepared.split[many.star] == Split.TEST).all()


def test_rows_of_a_set_keep_their_tokens(prepared: Prepared, rng: np.random.Generator) -> None:
    examples = set_of_bin(prepared, Split.TEST, 2, n=100, seed=1)
    rows = rng.permutation(len(examples))[:10]
    taken = examples.take(rows)
    for name, tokens in examples.tokens.items():
        for position, row in enumerate(rows):
            part = taken.tokens[name]
            mine = part.values[part.offsets[position] : part.offsets[position + 1]]
            assert np.array_equal(mine, tokens.values[tokens.offsets[row] : tokens.offsets[row + 1]])


def test_cuts_are_those_of_their_star_and_differ(prepared: Prepared) -> None:
    members = prepared.members(Split.TRAIN).astype(np.int64)
    plan = cut_plan(prepared.stars.label, members, of_class=0, seed=1)
    assert np.array_equal(plan.star, np.repeat(members, CUTS))
    assert plan.cut is not None
    assert plan.cut[: CUTS + 1].tolist() == [*range(CUTS), 0]
    whole = make_set(plan, prepared.run.specs, prepared.stars_path)
    assert np.array_equal(whole.label, prepared.stars.label[plan.star])
    assert whole.n_epochs.min() >= 1
    assert len({tuple(whole.n_epochs[place::CUTS].tolist()) for place in range(CUTS)}) == CUTS
    # Each follows from its star and its number, not from its place in the plan.
    part = make_set(plan.part(slice(7, 19)), prepared.run.specs, prepared.stars_path)
    assert_equal(part, whole.take(np.arange(7, 19)))
    assert plan.digest() != cut_plan(prepared.stars.label, members, of_class=0, seed=2).digest()


def test_a_scarce_class_has_more_cuts(prepared: Prepared) -> None:
    members = prepared.members(Split.TRAIN).astype(np.int64)
    label = np.full(len(prepared.stars), 1)
    label[members[0]] = 0
    plan = cut_plan(label, members, of_class=50, seed=1)
    own = plan.cut[plan.star == members[0]] if plan.cut is not None else np.zeros(0)
    assert own.tolist() == [*range(50)]
