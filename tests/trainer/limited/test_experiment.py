# SPDX-License-Identifier: BSD-3-Clause
"""The experiment treats both arms alike, goes on where it was, and says what it does not show."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from broker_plugin.errors import ConfigurationError
from trainer.compute import Compute
from trainer.data.splits import Split
from trainer.data.stars import write_stars
from trainer.limited.experiment import Experiment, Result, Watcher, run_experiment
from trainer.limited.measuring import first_sets
from trainer.limited.report import budget_caveats, draw, lines_of, summarise
from trainer.preparation import Prepared
from trainer.sets import ExampleSet
from trainer.tempering import tempered

pytestmark = pytest.mark.timeout(1200)
"""Fourteen tiny trainings, ten seconds of computing; on a machine that others share that can be minutes."""

COMPUTE = Compute(device=torch.device("cpu"))


class Stopped(Exception):
    """Stands for an experiment that was killed."""


def experiment_of(prepared: Prepared, out: Path, **changes: object) -> Experiment:
    settings = {
        "shares": (0.25, 1.0),
        "seeds": (1, 2),
        "learning_rates": (3e-3, 1e-2),
        "passes": 1,
        "windows_per_pass": 64,
        "pretraining_passes": 1,
    }
    return Experiment(prepared=prepared, out=out, **(settings | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, list[Result]]:
    """A tiny experiment that was killed in its middle and then run to its end."""
    experiment = experiment_of(prepared, tmp_path_factory.mktemp("limited"))
    done: list[object] = []

    def stop(result: Result | None) -> None:
        done.append(result)
        if len(done) == 5:
            raise Stopped

    with pytest.raises(Stopped):
        run_experiment(experiment, compute=COMPUTE, watcher=Watcher(done=stop))
    before = {path: path.read_bytes() for path in (experiment.out / "cells").iterdir()}
    assert len(before) == 4  # the first training was the pre-training
    results = run_experiment(experiment, compute=COMPUTE)
    for path, content in before.items():
        assert path.read_bytes() == content
    return experiment, results


def test_both_arms_have_the_same_stars_rates_and_seeds(finished: tuple[Experiment, list[Result]]) -> None:
    experiment, results = finished
    cells = [json.loads(path.read_text()) for path in (experiment.out / "cells").iterdir()]
    assert experiment.n_trainings == len(cells) + len(experiment.seeds)
    arms = [
        sorted(
            (each["share"], each["seed"], each["labelled_stars"])
            for each in cells
            if each["pretrained"] is arm
        )
        for arm in (False, True)
    ]
    assert arms[0] == arms[1]
    for result in results:
        tried = result["tried"]
        assert len(tried) == (2 if result["seed"] == 1 else 1)
        if result["seed"] == 1:
            assert tried[f"{result['learning_rate']:g}"] == max(tried.values())
    n = {share: {each["labelled_stars"] for each in cells if each["share"] == share} for share in (0.25, 1.0)}
    train_stars = len(experiment.prepared.members(Split.TRAIN))
    assert n[1.0] == {train_stars}
    assert all(0.2 * train_stars < each < 0.5 * train_stars for each in n[0.25])


def test_every_test_star_is_measured_in_every_setting(prepared: Prepared) -> None:
    members = prepared.members(Split.TEST)
    for setting, examples in first_sets(prepared, Split.TEST).items():
        assert (examples.star == members).all()
        if setting != "all":
            assert examples.n_epochs.max() <= int(setting)


def test_classes_have_the_shares_that_the_prior_shift_counts_on(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A training draws forty random runs of two stars of a class, and one of each star of the other class: of
    # the runs of ten epochs, most are the first of the other's.
    train = prepared.members(Split.TRAIN)
    label = np.where(np.isin(np.arange(len(prepared.stars)), train[:2]), 0, 1)
    settings = prepared.run.settings
    data = settings.data.model_copy(update={"class_windows": 40})
    run = replace(prepared.run, settings=settings.model_copy(update={"data": data}))
    stars = replace(prepared.stars, label=label)
    scarce = replace(prepared, run=run, stars=stars, cache=tmp_path / "cache")
    write_stars(stars, scarce.stars_path)
    drawn: list[ExampleSet] = []

    def record(*positional: Any, **_: object) -> None:
        drawn.extend(positional[2](number) for number in range(160))
        raise Stopped

    monkeypatch.setattr("trainer.limited.experiment.finetune", record)
    with pytest.raises(Stopped):
        run_experiment(experiment_of(scarce, tmp_path, shares=(1.0,)), compute=COMPUTE)
    labels = np.concatenate([each.label for each in drawn])
    epochs = np.concatenate([each.n_epochs for each in drawn])
    wanted = tempered(np.bincount(label[train]))
    for length in (None, 10, 30):
        of_length = labels[epochs == length] if length else labels
        found = np.bincount(of_length, minlength=len(wanted)) / len(of_length)
        # Five standard deviations of the share.
        assert np.abs(found - wanted).max() < 5 * np.sqrt(wanted.prod() / len(of_length)), length


def test_seeds_of_the_experiment_are_different_trainings(prepared: Prepared, tmp_path: Path) -> None:
    settings = prepared.run.settings
    training = settings.training.model_copy(update={"seed": 3})
    run = replace(prepared.run, settings=settings.model_copy(update={"training": training}))
    experiment = experiment_of(replace(prepared, run=run), tmp_path)
    assert [experiment.run_of(seed).settings.training_seed for seed in experiment.seeds] == [1, 2]


def test_the_summary_says_what_it_is_no_evidence_for(
    finished: tuple[Experiment, list[Result]], tmp_path: Path
) -> None:
    experiment, results = finished
    summary = summarise(experiment, results)
    assert "no evidence for or against the paper's claim" in summary["caveats"][0]
    assert not summary["simulated"]
    assert set(summary["stars"]["labelled"]) == {"0.25", "1"}
    for row in summary["rows"]:
        gains = [row["pretrained"]["seeds"][seed] - row["random"]["seeds"][seed] for seed in ("1", "2")]
        assert row["gain"] == pytest.approx(np.mean(gains), abs=2e-3)  # rounded to 0.001 %
    assert any("no evidence" in line for line in lines_of(summary))
    draw(summary, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_a_budget_that_tells_nothing_is_said(finished: tuple[Experiment, list[Result]]) -> None:
    experiment, results = finished

    def said(gain: float, rate: float) -> list[str]:
        rows = [
            {
                "measure": "macro_f1",
                "labels_percent": 100 * share,
                "random": {"mean": 60.0},
                "pretrained": {"mean": 60.0 + (gain if share == 1.0 else 0.0)},
            }
            for share in experiment.shares
        ]
        chosen = [{**each, "learning_rate": rate} for each in results]
        return list(budget_caveats(experiment, chosen, rows))

    lowest, highest = experiment.learning_rates
    no_difference, at_the_edge = said(0.5, highest)
    assert "60.0 and 60.5 pretrained" in no_difference
    assert "give more --passes" in no_difference
    assert "a higher one might do better" in at_the_edge
    assert said(9.0, lowest) == []


def test_simulated_stars_are_marked(finished: tuple[Experiment, list[Result]]) -> None:
    experiment, results = finished
    run = replace(experiment.prepared.run, data={"simulated": True})
    marked = replace(experiment, prepared=replace(experiment.prepared, run=run))
    summary = summarise(marked, results)
    assert summary["simulated"]
    assert summary["caveats"][0].startswith("SIMULATED")


def test_results_of_other_settings_are_refused(finished: tuple[Experiment, list[Result]]) -> None:
    experiment, _ = finished
    with pytest.raises(ConfigurationError, match="use another --out"):
        run_experiment(replace(experiment, windows_per_pass=65), compute=COMPUTE)
