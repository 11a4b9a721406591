# SPDX-License-Identifier: BSD-3-Clause
"""The paper's table on generated data: end to end, killed, resumed, and honest about what it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from broker_plugin.errors import ConfigurationError
from tests.support.artefacts import REPOSITORY
from tests.trainer.astrom3.generated import write_processed
from trainer.astrom3.checkpoint import load_checkpoint, save_checkpoint
from trainer.astrom3.command import reproduce
from trainer.astrom3.config import MetadataConfig, PhotometryConfig
from trainer.astrom3.model import AstroM3, Modality, new_model
from trainer.astrom3.paper import ARXIV_V1, JOURNAL
from trainer.astrom3.reproduce import Plan, run
from trainer.astrom3.scoring import score_published
from trainer.astrom3.table import summarise
from trainer.astrom3.training import Running

TRIAL = Running(epochs_max=1, batch_size=20, layers=1)
"""One layer, since Informers of eight take most of the time."""


START_S = 500
"""Seconds for the command to begin its second run: a few, unless the machine is very busy."""


def small_plan(processed: Path, out: Path, **changes: Any) -> Plan:
    settings: dict[str, Any] = {
        "modalities": ("metadata",),
        "subsets": ("sub10", "full"),
        "seeds": (42,),
        "running": TRIAL,
    }
    return Plan(data=processed, out=out, **(settings | changes))


def test_all_modalities_run_with_and_without_pretraining(processed: Path, tmp_path: Path) -> None:
    modalities: tuple[Modality, ...] = ("spectra", "metadata", "photometry", "all")
    plan = small_plan(processed, tmp_path, modalities=modalities, subsets=("sub10",), keep_weights=True)
    begun = []
    table = run(plan, on_cell=lambda cell, seed, epochs: begun.append(cell))
    assert len(begun) == 9, "eight classifiers and one contrastive model"
    assert begun.count(None) == 1
    assert [row["modality"] for row in table["rows"]] == list(modalities)
    assert all(row["labels_percent"] == 10 for row in table["rows"])
    assert json.loads((tmp_path / "table.json").read_text()) == table
    clip = load_checkpoint(tmp_path / "clip-42" / "best")
    assert isinstance(clip, AstroM3)
    assert not clip.config.classification
    for cell in (tmp_path / "cells").glob("*.json"):
        result = json.loads(cell.read_text())
        assert result["objects"] == {"train": 20, "validation": 10, "test": 10}
        assert result["trial"] is True
        model = load_checkpoint(tmp_path / "work" / cell.stem / "best")
        assert model.config.classification
    assert "trial" in table["caveats"][0]


def test_finished_cells_are_not_run_again_and_other_settings_are_refused(
    processed: Path, tmp_path: Path
) -> None:
    first = run(small_plan(processed, tmp_path))
    begun = []
    again = run(small_plan(processed, tmp_path), on_cell=lambda cell, seed, epochs: begun.append(cell))
    assert begun == []
    assert again == first
    with pytest.raises(ConfigurationError, match="--out"):
        run(small_plan(processed, tmp_path, running=replace(TRIAL, epochs_max=2)))


@pytest.mark.timeout(600)
def test_a_command_that_was_killed_goes_on_to_the_same_table(
    processed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        *(sys.executable, "-m", "trainer", "reproduce", "--data", str(processed), "--modality", "metadata"),
        *("--subset", "sub10", "--seeds", "42", "--epochs-max", "2", "--batch-size", "20", "--layers", "1"),
        *("--device", "cpu", "--threads", "1", "--out"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    killed = tmp_path / "killed"
    running = subprocess.Popen(
        [*command, str(killed)],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # The first cell has its result, and the contrastive model is under way but not done.
    until = time.monotonic() + START_S
    try:
        while not (killed / "clip-42" / "state.safetensors").is_file() and running.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        running.send_signal(signal.SIGKILL)
        status = running.wait()
    assert status == -signal.SIGKILL
    assert not (killed / "table.json").exists()
    assert (killed / "cells" / "metadata-sub10-42.json").is_file()
    reproduce(
        data=str(processed),
        out=killed,
        modality=["metadata"],
        subset=["sub10"],
        seeds=[42],
        epochs_max=2,
        batch_size=20,
        layers=1,
        device="cpu",
    )
    shown = " ".join(capsys.readouterr().out.split())
    assert "arXiv v1" in shown
    assert "should not be quoted" in shown
    plan = small_plan(processed, tmp_path / "whole", subsets=("sub10",), running=replace(TRIAL, epochs_max=2))
    assert json.loads((killed / "table.json").read_text()) == run(plan)


def test_a_test_object_in_the_contrastive_training_stops_it(tmp_path: Path) -> None:
    write_processed(tmp_path / "data")
    train, test = (sorted((tmp_path / "data/full_42").glob(f"{split}-*"))[0] for split in ("train", "test"))
    train.write_bytes(test.read_bytes())
    with pytest.raises(ConfigurationError, match="test objects are also in"):
        run(small_plan(tmp_path / "data", tmp_path / "out", subsets=("sub10",), arms=(True,)))


def test_a_published_classifier_is_scored_under_both_paddings(processed: Path, tmp_path: Path) -> None:
    save_checkpoint(new_model(PhotometryConfig(classification=True, e_layers=1)), tmp_path / "photo")
    scores = score_published(str(tmp_path / "photo"), processed, "full_42")
    assert scores.keys() == {"gen-1", "gen-2"}
    assert all(0 <= each["accuracy"] <= 1 for each in scores.values())
    assert scores["gen-1"] != scores["gen-2"], "padding is attended to"
    save_checkpoint(new_model(MetadataConfig()), tmp_path / "bare")
    with pytest.raises(ConfigurationError, match="no classifier"):
        score_published(str(tmp_path / "bare"), processed, "full_42")


def test_the_table_has_means_spreads_gains_and_the_papers_numbers() -> None:
    accuracies = {(False, 42): 0.80, (False, 0): 0.82, (True, 42): 0.85, (True, 0): 0.86, (True, 66): 0.9}
    results = [
        {
            "modality": "photometry",
            "subset": "full",
            "clip": clip,
            "seed": seed,
            "trial": False,
            "test": {"accuracy": accuracy},
        }
        for (clip, seed), accuracy in accuracies.items()
    ]
    table = summarise(results)
    (row,) = table["rows"]
    # Rounded to three decimals of a per cent.
    assert row["without"]["mean"] == pytest.approx(81.0, abs=1e-3)
    assert row["without"]["std"] == pytest.approx(1.0, abs=1e-3)
    assert row["gain"] == pytest.approx(4.5, abs=1e-3)
    # Differences 5 and 4: t = 4.5 / 0.5 = 9 with one degree of freedom, p = 2 / pi * atan(1 / 9).
    assert row["p"] == pytest.approx(0.07045, abs=1e-4)
    assert row["journal"]["without"] == 90.724
    assert row["arxiv_v1"]["with_clip"] == 91.468
    assert any("84.6" in caveat and "should not be quoted" in caveat for caveat in table["caveats"])


def test_the_papers_tables_give_its_abstracts_numbers() -> None:
    def gain(table: Any, modality: Modality, subset: Any) -> float:
        return table[modality, subset].with_clip - table[modality, subset].without

    # The journal's abstract, to the digits that it gives.
    assert gain(JOURNAL, "spectra", "sub10") == pytest.approx(14.29, abs=6e-3)
    assert gain(JOURNAL, "metadata", "sub10") == pytest.approx(2.27, abs=6e-3)
    assert gain(JOURNAL, "photometry", "sub25") == pytest.approx(10.20, abs=6e-3)
    # The first version's abstract: up to 12.6 for limited labels, and 84.6 to 91.5 for all.
    assert max(gain(ARXIV_V1, *key) for key in ARXIV_V1 if key[1] != "full") == pytest.approx(12.6, abs=0.06)
    assert len(JOURNAL) == len(ARXIV_V1) == 16
