# SPDX-License-Identifier: BSD-3-Clause
"""The scientist's guide is typed in its order, with made-up stars; at full length where training is quick.

Where long science is left out, so is the trainer: a copy of the installed bundle stands for what it makes.
"""

from __future__ import annotations

import json
import shutil
from itertools import islice
from pathlib import Path

import fastavro
import pytest

from broker_plugin.bundle import installed_bundles, open_bundle
from tests.support.artefacts import REPOSITORY
from tests.support.guides import Reader, blocks
from tests.trainer.synthetic import tiny_settings, write_catalogue, write_settings

GUIDE = REPOSITORY / "deploy/docs/retraining.md"

SETTINGS = "trainer/configs/quick.toml"

TRAINER = "trainer "

STARS_PER_CLASS = 100
"""Half of all are calibrated on, 400 at least."""

N_ALERTS = 500
"""Enough for a stratum of stars."""


@pytest.fixture
def folder(tmp_path: Path, data_dir: Path) -> Path:
    """A folder with what the guide wants to be there."""
    others = write_catalogue(tmp_path / "others", stars_per_class=2, seed=4)
    shutil.copy(others, tmp_path / "held-out.parquet")
    (tmp_path / "nights").mkdir()
    with (data_dir / "alerts/ztf/nocutouts.avro").open("rb") as night:
        reader = fastavro.reader(night)
        packets = list(islice(reader, N_ALERTS))
    with (tmp_path / "nights/night.avro").open("wb") as short:
        fastavro.writer(short, reader.writer_schema, packets)
    return tmp_path


def read_through(folder: Path, reader: Reader, *, trains: bool) -> list[str]:
    """Type the guide, with or without what trains, and see that its promises about bundles were kept."""
    printed = [reader.read(block) for block in blocks(GUIDE, "sh") if trains or TRAINER not in block]
    compared = json.loads((folder / "compare.json").read_text())
    assert f": {N_ALERTS}," in json.dumps(compared)
    journal = (folder / "bundles/journal.jsonl").read_text().splitlines()
    told = [json.loads(line)["action"] for line in journal]
    assert told == ["add", "add", "promote", "promote", "rollback"]
    return printed


def test_a_bundle_comes_into_service_as_it_says(folder: Path) -> None:
    shutil.copytree(installed_bundles()["default"], folder / "runs/fitted")
    printed = read_through(folder, Reader(folder), trains=False)
    assert "mine" in printed[-1]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_can_be_typed_as_it_stands(folder: Path) -> None:
    write_catalogue(folder / "data", stars_per_class=STARS_PER_CLASS)
    tiny = write_settings(tiny_settings(), folder / "tiny.toml")
    read_through(folder, Reader(folder, instead={SETTINGS: str(tiny)}), trains=True)
    assert open_bundle(folder / "runs/fitted").manifest.name == "tiny"
    assert (folder / "report/report.html").stat().st_size > 10_000
    assert json.loads((folder / "metrics.json").read_text())
