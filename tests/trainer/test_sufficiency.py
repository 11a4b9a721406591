# SPDX-License-Identifier: BSD-3-Clause
"""What stars are needed for, and what is said before the work where there are too few."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from broker_plugin.errors import ConfigurationError
from tests.trainer.synthetic import tiny_settings, write_catalogue, write_settings
from trainer.checkpoint import new_model
from trainer.data.catalina import FILE
from trainer.fitting import rival_forest
from trainer.preparation import prepare
from trainer.run_commands import train
from trainer.sufficiency import require_calibration, require_classes

TWO = ("EA_detached", "RRab")


def test_a_class_without_a_star_is_none_of_the_run(tmp_path: Path) -> None:
    write_catalogue(tmp_path, stars_per_class=30, labels=TWO)
    settings = tiny_settings(anomaly={"class_forests": False}, data={"alerts_per_set": 60, "odd_share": 0.0})
    said: list[str] = []
    prepared = prepare(settings, tmp_path, tmp_path / "run", say=said.append)
    assert prepared.run.classes == ("EA", "RRAB")
    assert "no star of EW, RRC, RRD, CEP, DSCT, LPV, ROT" in said[-1]
    assert np.unique(prepared.stars.label).tolist() == [0, 1]
    assert min(prepared.run.frequencies) > 0
    require_classes(prepared)
    again = prepare(settings, tmp_path, tmp_path / "run", say=said.append)
    assert again.run == prepared.run
    forests = rival_forest(prepared, new_model(prepared.run).eval())
    assert len(forests.members) == 1 + len(TWO)


def test_what_cannot_be_learned_is_refused_before_the_training(tmp_path: Path) -> None:
    write_catalogue(tmp_path / "alike", stars_per_class=30, labels=["RRab"])
    config = write_settings(tiny_settings(), tmp_path / "tiny.toml")
    with pytest.raises(ConfigurationError, match="all labelled stars are of class RRAB"):
        train(config=config, data=tmp_path / "alike", out=tmp_path / "run")
    lone = pq.read_table(write_catalogue(tmp_path / "lone", stars_per_class=1, labels=["EA_detached"]))
    many = pq.read_table(tmp_path / "alike" / FILE)
    pq.write_table(pa.concat_tables([lone.slice(0, 1), many]), tmp_path / "lone" / FILE)
    with pytest.raises(ConfigurationError, match=r"no star of class EA .*data\.held_out_classes"):
        train(config=config, data=tmp_path / "lone", out=tmp_path / "run")
    pq.write_table(lone.slice(0, 1), tmp_path / "lone" / FILE)
    with pytest.raises(ConfigurationError, match="1 stars leave none for training"):
        train(config=config, data=tmp_path / "lone", out=tmp_path / "run")


def test_too_few_stars_to_calibrate_are_refused_before_the_training(tmp_path: Path) -> None:
    write_catalogue(tmp_path / "data", stars_per_class=30, labels=TWO)
    config = write_settings(tiny_settings(), tmp_path / "tiny.toml")
    with pytest.raises(
        ConfigurationError, match=r"3. stars fall to the calibration, 400 are needed; give 800"
    ):
        train(config=config, data=tmp_path / "data", out=tmp_path / "run")


@pytest.mark.parametrize("windows", [0, 10])
def test_too_few_stars_with_enough_epochs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: int
) -> None:
    monkeypatch.setattr("trainer.sufficiency.STRATUM_MIN", 30)
    write_catalogue(tmp_path, stars_per_class=30, labels=TWO)
    settings = tiny_settings(data={"windows_per_set": windows}, calibration={"epoch_edges": [0, 1, 64]})
    prepared = prepare(settings, tmp_path, tmp_path / "run", say=lambda line: None)
    with pytest.raises(ConfigurationError, match=r"of 3. stars .* alert of 64 epochs .* from 64 on"):
        require_calibration(prepared)
    monkeypatch.setattr("trainer.sufficiency.STRATUM_MIN", 10)
    require_calibration(prepared)
