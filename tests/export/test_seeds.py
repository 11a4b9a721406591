# SPDX-License-Identifier: BSD-3-Clause
"""`trainer seeds` trains a run again: other weights, the same stars."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from broker_plugin.errors import ConfigurationError
from tests.export.conftest import Exported
from tests.trainer.synthetic import write_catalogue
from trainer.bundle_evaluation import evaluate_bundle
from trainer.checkpoint import BEGUN, PROGRESS, RUN, load_run, passes_trained, save_run, training_key
from trainer.data.catalina import FILE
from trainer.fitting import CATALOGUE
from trainer.predictions import read_predictions
from trainer.preparation import seen_stars
from trainer.report.inputs import find_inputs
from trainer.seeds import SEEDS, _discard_outdated, lines_of, seeds

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def run(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run, trained once more with another seed, where that of an earlier state of the run was."""
    folder = tmp_path_factory.mktemp("again") / "run"
    shutil.copytree(exported.run, folder)
    data = exported.run.parent / "data"
    results = folder / CATALOGUE, folder / "predictions.parquet"
    evaluate_bundle(str(exported.bundle), data / FILE, *results, seen=seen_stars(folder))
    earlier = folder / SEEDS / "seed1"
    earlier.mkdir(parents=True)
    (earlier / RUN).write_text((folder / RUN).read_text().replace('"passes": 2', '"passes": 9'))
    for suffix in (".json", ".parquet"):
        earlier.with_suffix(suffix).write_text("of another training")
    (earlier / PROGRESS).write_text(json.dumps({"of": "an earlier state", "passes": 2}))
    seeds(run=folder, data=data, seeds=2, workers=1)
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
    own, again = (json.loads(path.read_text()) for path in (run / CATALOGUE, run / SEEDS / "seed1.json"))
    assert again["stars"] == own["stars"] == len(found.trainings["seed1"].star_id)
    (line,) = (each for each in lines_of([own, again]) if each.startswith("macro_f1: "))
    mean = np.mean([each["macro_f1"]["all"] for each in (own, again)])
    assert f" all {mean:.3f} +- " in line
    assert line.endswith("(2 trainings)")


def test_what_is_finished_is_kept(run: Path, exported: Exported) -> None:
    made = {path: path.stat().st_mtime_ns for path in (run / SEEDS).rglob("*") if path.is_file()}
    seeds(run=run, data=exported.run.parent / "data", seeds=2, workers=1)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert read_predictions(run / SEEDS / "seed1.parquet").about["bundle"].startswith("tiny ")


def test_what_is_of_an_earlier_state_of_the_run_is_made_again(run: Path) -> None:
    again = load_run(run / SEEDS / "seed1")
    assert again.settings.training.passes == 2
    assert passes_trained(again, run / SEEDS / "seed1") == 2


def test_measures_of_another_fit_are_dropped_and_the_weights_kept(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / SEEDS, tmp_path / SEEDS)
    folder = tmp_path / SEEDS / "seed1"
    own = load_run(folder)
    _discard_outdated(own, folder)
    assert folder.with_suffix(".parquet").is_file()
    anomaly = own.settings.anomaly.model_copy(update={"min_epochs": 3})
    _discard_outdated(replace(own, settings=own.settings.model_copy(update={"anomaly": anomaly})), folder)
    assert not folder.with_suffix(".parquet").exists()
    assert (folder / WEIGHTS).is_file()


def test_measures_without_their_training_are_kept(run: Path, tmp_path: Path) -> None:
    alone = shutil.copy(run / SEEDS / "seed1.parquet", tmp_path)
    _discard_outdated(load_run(run / SEEDS / "seed1"), tmp_path / "seed1")
    assert Path(alone).is_file()


def test_what_cannot_be_repeated_is_refused(run: Path, exported: Exported, tmp_path: Path) -> None:
    data = exported.run.parent / "data"
    with pytest.raises(ConfigurationError, match="2 or more"):
        seeds(run=run, data=data, seeds=1)
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(run / RUN, unfinished / RUN)
    with pytest.raises(ConfigurationError, match="no finished training"):
        seeds(run=unfinished, data=data, seeds=2)
    for of, passes in (("other settings, or a fine-tuning", 2), (training_key(load_run(run)), 1)):
        (unfinished / PROGRESS).write_text(json.dumps({"of": of, "passes": passes}))
        with pytest.raises(ConfigurationError, match="no finished training"):
            seeds(run=unfinished, data=data, seeds=2)
    shutil.copy(run / PROGRESS, unfinished / PROGRESS)
    with pytest.raises(ConfigurationError, match="is not measured; run `trainer fit-anomaly --run"):
        seeds(run=unfinished, data=data, seeds=2)
    shutil.copy(run / CATALOGUE, unfinished / CATALOGUE)
    fine_tuned = load_run(run)
    (unfinished / PROGRESS).unlink()  # a model would keep the run that it follows from
    save_run(replace(fine_tuned, data={**fine_tuned.data, BEGUN: "other encoders"}), unfinished)
    with pytest.raises(ConfigurationError, match="was fine-tuned"):
        seeds(run=unfinished, data=data, seeds=2)
    save_run(replace(fine_tuned, data={"file": "objects.parquet"}), unfinished)
    with pytest.raises(ConfigurationError, match="was not made from"):
        seeds(run=unfinished, data=data, seeds=2)
    other = write_catalogue(tmp_path / "other", stars_per_class=3, seed=9)
    with pytest.raises(ConfigurationError, match="not the file"):
        seeds(run=run, data=other.parent.parent, seeds=2)
