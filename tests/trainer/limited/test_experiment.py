# SPDX-License-Identifier: BSD-3-Clause
"""The experiment treats both arms alike, goes on where it was, and says what it does not show."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from broker_plugin.errors import ConfigurationError
from trainer.compute import Compute
from trainer.data.splits import Split
from trainer.limited.experiment import Experiment, Result, Watcher, run_experiment
from trainer.limited.measuring import first_sets
from trainer.limited.report import draw, lines_of, summarise
from trainer.preparation import Prepared

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
