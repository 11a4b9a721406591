# SPDX-License-Identifier: BSD-3-Clause
"""`trainer seeds` trains a run again: other weights, the same stars."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from broker_plugin.errors import ConfigurationError
from tests.export.conftest import Exported
from tests.trainer.synthetic import write_catalogue
from trainer.checkpoint import RUN, load_run
from trainer.predictions import read_predictions
from trainer.report.inputs import find_inputs
from trainer.seeds import SEEDS, lines_of, seeds

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def run(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run, trained once more with another seed."""
    folder = tmp_path_factory.mktemp("again") / "run"
    shutil.copytree(exported.run, folder)
    seeds(run=folder, data=exported.run.parent / "data", seeds=2, workers=1)
    return folder


def test_another_seed_is_another_training_on_the_same_split(run: Path) -> None:
    own, again = load_run(run), load_run(run / SEEDS / "seed1")
    assert again.settings.training.seed == 1
    assert again.settings.seed == own.settings.seed
    assert again.data == own.data
    one, other = (load_file(folder / WEIGHTS) for folder in (run, run / SEEDS / "seed1"))
    assert one.keys() == other.keys()
    assert not np.array_equal(
        one["encoders.photometry.norm.weight"], other["encoders.photometry.norm.weight"]
    )


def test_the_report_finds_it(run: Path) -> None:
    found = find_inputs(run, {}, bundle="b", data=run)
    assert set(found.trainings) == {"seed1"}
    assert "seeds" not in found.missing
    measured = json.loads((run / SEEDS / "seed1.json").read_text())
    assert measured["stars"] == len(found.trainings["seed1"].star_id)
    assert any("macro_f1: " in line and "(2 trainings)" in line for line in lines_of([measured, measured]))


def test_what_is_finished_is_kept(run: Path, exported: Exported) -> None:
    made = {path: path.stat().st_mtime_ns for path in (run / SEEDS).rglob("*") if path.is_file()}
    seeds(run=run, data=exported.run.parent / "data", seeds=2, workers=1)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert read_predictions(run / SEEDS / "seed1.parquet").about["bundle"].startswith("tiny ")


def test_what_is_of_an_earlier_state_of_the_run_is_made_again(run: Path, exported: Exported) -> None:
    path = run / SEEDS / "seed1" / RUN
    path.write_text(path.read_text().replace('"passes": 2', '"passes": 9'))
    seeds(run=run, data=exported.run.parent / "data", seeds=2, workers=1)
    assert load_run(run / SEEDS / "seed1").settings.training.passes == 2
    assert (run / SEEDS / "seed1.parquet").is_file()


def test_what_cannot_be_repeated_is_refused(run: Path, exported: Exported, tmp_path: Path) -> None:
    data = exported.run.parent / "data"
    with pytest.raises(ConfigurationError, match="2 or more"):
        seeds(run=run, data=data, seeds=1)
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(run / RUN, unfinished / RUN)
    with pytest.raises(ConfigurationError, match="no weights"):
        seeds(run=unfinished, data=data, seeds=2)
    other = write_catalogue(tmp_path / "other", stars_per_class=3, seed=9)
    with pytest.raises(ConfigurationError, match="not the file"):
        seeds(run=run, data=other.parent.parent, seeds=2)
