# SPDX-License-Identifier: BSD-3-Clause
"""Training learns, stops and goes on with the very same numbers."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from broker_plugin.errors import ConfigurationError
from tests.trainer.synthetic import tiny_settings
from trainer.checkpoint import STATE, load_model, load_run, save_run
from trainer.model import AlertModel
from trainer.preparation import Prepared, validation_set
from trainer.training import train
from trainer.training_sets import TrainingSets


class Stopped(Exception):
    """Stands for a run that was killed."""


def run_training(prepared: Prepared, folder: Path, *, passes: int, stop_after: int = 0) -> AlertModel:
    folder.mkdir(exist_ok=True)
    settings = tiny_settings(training={"passes": passes})
    run = dataclasses.replace(prepared.run, settings=settings)

    def stop(record: object) -> None:
        if isinstance(record, dict) and record["pass"] == stop_after:
            raise Stopped

    return train(run, folder, TrainingSets(prepared), validation_set(prepared), on_pass=stop)


def test_the_loss_falls(trained: Path) -> None:
    records = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [record["pass"] for record in records] == [1, 2, 3]
    assert records[-1]["fused"] < records[0]["fused"]


def test_a_resumed_run_is_bit_equal_to_an_unbroken_one(prepared: Prepared, tmp_path: Path) -> None:
    whole = run_training(prepared, tmp_path / "whole", passes=3)
    with pytest.raises(Stopped):
        run_training(prepared, tmp_path / "broken", passes=3, stop_after=2)
    resumed = run_training(prepared, tmp_path / "broken", passes=3)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_checkpoint_of_other_settings_is_refused(prepared: Prepared, tmp_path: Path) -> None:
    run_training(prepared, tmp_path, passes=1)
    with pytest.raises(ConfigurationError, match="use another --out"):
        run_training(prepared, tmp_path, passes=2)


def test_a_model_keeps_the_settings_that_it_was_trained_with(prepared: Prepared, tmp_path: Path) -> None:
    run = dataclasses.replace(prepared.run, settings=tiny_settings(training={"passes": 1}))
    save_run(run, tmp_path)
    run_training(prepared, tmp_path, passes=1)
    others = [
        dataclasses.replace(run, settings=run.settings.model_copy(update={"seed": run.settings.seed + 1})),
        dataclasses.replace(run, data={**run.data, "sha256": "another file"}),
    ]
    for other in others:
        with pytest.raises(ConfigurationError, match="use another --out"):
            save_run(other, tmp_path)
        assert load_run(tmp_path).settings == run.settings
        assert load_run(tmp_path).data == run.data
    later = run.settings.calibration.model_copy(update={"decision_rule": "macro_f1"})
    changed = dataclasses.replace(run, settings=run.settings.model_copy(update={"calibration": later}))
    save_run(changed, tmp_path)  # nothing of the model follows from this
    assert load_run(tmp_path).settings == changed.settings


def test_a_finished_run_is_not_trained_again_without_its_optimiser(
    prepared: Prepared, tmp_path: Path
) -> None:
    finished = run_training(prepared, tmp_path, passes=1)
    (tmp_path / STATE).unlink()
    again = run_training(prepared, tmp_path, passes=1, stop_after=1)
    for name, value in finished.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_an_unfinished_run_does_not_go_on_without_its_optimiser(prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        run_training(prepared, tmp_path, passes=2, stop_after=1)
    (tmp_path / STATE).unlink()
    with pytest.raises(ConfigurationError, match="without its state; use another --out"):
        run_training(prepared, tmp_path, passes=2)


def test_a_checkpoint_is_loaded_whole(trained: Path) -> None:
    run = load_run(trained)
    model = load_model(run, trained)
    assert not model.training
    frequencies = torch.tensor(run.frequencies)
    # The prior is a logit offset relative to equal shares, in float32.
    torch.testing.assert_close(model.head.log_prior, (frequencies * 9).log())


def test_a_folder_without_a_run_says_what_to_do(tmp_path: Path, prepared: Prepared) -> None:
    with pytest.raises(ConfigurationError, match="trainer train"):
        load_run(tmp_path)
    with pytest.raises(ConfigurationError, match="trainer train"):
        load_model(prepared.run, tmp_path)
