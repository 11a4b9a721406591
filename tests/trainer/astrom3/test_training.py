# SPDX-License-Identifier: BSD-3-Clause
"""The loop: the paper's schedule, and resuming to the same bits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from broker_plugin.errors import ConfigurationError
from trainer.astrom3.batches import ordered, shuffled
from trainer.astrom3.data import Objects, read_objects
from trainer.astrom3.model import Inputs, Model, new_model
from trainer.astrom3.objective import classify
from trainer.astrom3.recipes import MODALITIES, SEEDS, SUBSETS, clip_recipe, recipe
from trainer.astrom3.training import Outcome, Running, fit

RECIPE = replace(
    recipe("metadata", "full", clip=False), learning_rate=3e-3, warmup_epochs=2, plateau_patience=0
)
RUNNING = Running(batch_size=8, epochs_max=13)


class Killed(Exception):
    """Stands for a kill between two epochs."""


def run(processed: Path, folder: Path, *, kill_after: int | None = None, **changes: Any) -> Outcome:
    def on_epoch(record: Mapping[str, Any]) -> None:
        if kill_after is not None and record["epoch"] + 1 == kill_after:
            raise Killed

    settings = {"recipe": RECIPE, "running": RUNNING, "seed": 42, "objective": classify} | changes
    torch.manual_seed(7)
    model = new_model(settings["recipe"].config("metadata", classes=10, classification=True))
    return fit(
        model,
        settings["recipe"],
        settings["objective"],
        read_objects(processed, "full_42", "train"),
        read_objects(processed, "full_42", "validation"),
        modality="metadata",
        seed=settings["seed"],
        folder=folder,
        running=settings["running"],
        views=settings.get("views"),
        on_epoch=on_epoch,
    )


def log(folder: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in each.items() if name != "seconds"} for each in records]


def test_a_killed_run_goes_on_to_the_same_bits(processed: Path, tmp_path: Path) -> None:
    whole = run(processed, tmp_path / "whole")
    assert whole.epochs > 4
    for epochs in (1, 4):
        with pytest.raises(Killed):
            run(processed, tmp_path / "killed", kill_after=epochs)
    resumed = run(processed, tmp_path / "killed")
    assert replace(resumed, seconds=whole.seconds) == whole
    assert log(tmp_path / "killed") == log(tmp_path / "whole")
    one, other = (load_file(tmp_path / name / "best/model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_the_parts_of_a_pass_hold_each_object_once(processed: Path, tmp_path: Path) -> None:
    def batches(folder: Path, running: Running) -> list[list[float]]:
        seen: list[list[float]] = []

        def note(model: Model, inputs: Inputs, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            if model.training:
                assert inputs.metadata is not None
                seen.append(inputs.metadata[:, 0].tolist())
            return classify(model, inputs, label)

        run(processed, folder, running=running, objective=note)
        return seen

    whole = batches(tmp_path / "whole", replace(RUNNING, epochs_max=1))
    parts = batches(tmp_path / "parts", replace(RUNNING, epochs_max=3, parts=3))
    assert len(whole) > 3
    assert sorted(parts) == sorted(whole)
    assert replace(RUNNING, batch_size=None, epochs_max=None, parts=3).trial


def test_a_pass_in_parts_goes_on_to_the_same_bits(processed: Path, tmp_path: Path) -> None:
    running = replace(RUNNING, epochs_max=4, parts=3)
    whole = run(processed, tmp_path / "whole", running=running)
    with pytest.raises(Killed):
        run(processed, tmp_path / "killed", running=running, kill_after=2)
    resumed = run(processed, tmp_path / "killed", running=running)
    assert replace(resumed, seconds=whole.seconds) == whole
    assert log(tmp_path / "killed") == log(tmp_path / "whole")
    with pytest.raises(ConfigurationError, match="or remove it"):
        run(processed, tmp_path / "killed", running=replace(running, parts=2))


def test_each_pass_sees_its_own_view_also_where_it_was_killed(processed: Path, tmp_path: Path) -> None:
    train = read_objects(processed, "full_42", "train")
    asked: list[int] = []
    values: list[float] = []

    def views(number: int) -> Objects:
        asked.append(number)
        return replace(train, metadata=np.full_like(train.metadata, number))

    def note(model: Model, inputs: Inputs, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if model.training:
            assert inputs.metadata is not None
            values.extend(inputs.metadata[:, 0].unique().tolist())
        return classify(model, inputs, label)

    changes = {"views": views, "objective": note, "running": replace(RUNNING, epochs_max=6, parts=2)}
    run(processed, tmp_path / "whole", **changes)
    assert asked == [1, 2]
    # The first pass sees the objects as they are; each view is made once for both parts of its pass.
    assert sorted(set(values) - set(train.metadata[:, 0].tolist())) == [1.0, 2.0]
    with pytest.raises(Killed):
        run(processed, tmp_path / "killed", kill_after=3, **changes)
    asked.clear()
    run(processed, tmp_path / "killed", **changes)
    assert asked == [1, 2]
    assert log(tmp_path / "killed") == log(tmp_path / "whole")
    with pytest.raises(ConfigurationError, match="--out"):
        run(processed, tmp_path / "whole", **changes | {"views": None})


def test_runs_of_before_there_were_parts_go_on(processed: Path, tmp_path: Path) -> None:
    run(processed, tmp_path, running=replace(RUNNING, epochs_max=1))
    objects = [read_objects(processed, "full_42", split) for split in ("train", "validation")]
    content = [[asdict(RECIPE), 8, "gen-2", 42], *(each.digest() for each in objects)]
    text = (tmp_path / "state.safetensors").read_bytes()[:1_000_000]
    assert hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest().encode() in text


def test_it_learns_what_the_columns_say(processed: Path, tmp_path: Path) -> None:
    outcome = run(processed, tmp_path)
    # Ten classes: chance is 0.1. The classes are five sigma apart in one column each.
    assert outcome.validation_accuracy > 0.5
    assert log(tmp_path)[-1]["loss"] < log(tmp_path)[0]["loss"]


def test_another_run_in_the_folder_is_refused(processed: Path, tmp_path: Path) -> None:
    run(processed, tmp_path, running=replace(RUNNING, epochs_max=1))
    with pytest.raises(ConfigurationError, match="--out"):
        run(processed, tmp_path, seed=0)
    run(processed, tmp_path, running=replace(RUNNING, epochs_max=2))


def test_the_rate_warms_up_and_falls_on_plateaus_and_the_run_stops(processed: Path, tmp_path: Path) -> None:
    def flat(model: Model, inputs: Inputs, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return classify(model, inputs, label)[0] * 0 + 1, torch.tensor(0.5)

    slow = replace(RECIPE, plateau_patience=1, warmup_epochs=3)
    outcome = run(processed, tmp_path, recipe=slow, objective=flat)
    rates = [each["learning_rate"] / slow.learning_rate for each in log(tmp_path)]
    # Three epochs of rise; the plateau is watched from the fourth, and two epochs in a row without a better
    # loss are one more than its patience of one.
    rise = [1e-5, 1 / 3 + 2e-5 / 3, 2 / 3 + 1e-5 / 3]
    assert rates == pytest.approx([*rise, 1, 1, slow.factor, slow.factor], rel=1e-9)
    # The counter starts at one: a patience of six are six epochs without a better loss.
    assert outcome.epochs == 7
    assert outcome.best_epoch == 0


def test_batches_are_whole_random_and_within_their_light_curves(processed: Path) -> None:
    objects = read_objects(processed, "full_42", "train")
    drawn = list(shuffled(objects, 12, np.random.default_rng(1)))
    assert [len(members) for members, _ in drawn] == [12, 12, 12], "40 objects, the last four left out"
    members = np.concatenate([each for each, _ in drawn])
    assert len(set(members)) == 36
    starts = np.concatenate([each for _, each in drawn])
    spare = np.maximum(np.diff(objects.offsets) - 200, 0)[members]
    assert (starts >= 0).all()
    assert (starts <= spare).all()
    assert (starts[spare > 20] > 0).any()
    assert [len(each) for each in ordered(objects, 12)] == [12, 12, 12, 4]
    assert len(next(shuffled(objects, 512, np.random.default_rng(1)))[0]) == 40


def test_every_cell_of_the_table_has_the_papers_settings() -> None:
    cells = [(m, s, c) for m in MODALITIES for s in SUBSETS for c in (False, True)]
    recipes = [recipe(modality, subset, clip=clip) for modality, subset, clip in cells]
    assert len(set(recipes)) == 32
    for each in (*recipes, clip_recipe()):
        # The ranges that the authors searched.
        assert 1e-5 <= each.learning_rate <= 1e-2
        assert 0.7 <= each.beta1 <= 0.99
        assert 1e-5 <= each.weight_decay <= 1e-1
        assert 0.1 <= each.factor <= 1
        assert max(each.p_dropout, each.s_dropout, each.m_dropout) <= 0.4
        assert each.batch_size == 512
    assert [each.epochs for each in (recipes[0], clip_recipe())] == [50, 100]
    assert clip_recipe().gradient_norm_max == 45
    assert SEEDS == (42, 0, 66, 12, 123)
    photometry = recipe("photometry", "full", clip=True).config("photometry", classes=10, classification=True)
    assert photometry.dropout == 0.149


def test_objects_know_when_they_changed(processed: Path) -> None:
    objects: Objects = read_objects(processed, "full_42", "train")
    label = objects.label.copy()
    label[0] = 9 - label[0]
    assert replace(objects, label=label).digest() != objects.digest()
