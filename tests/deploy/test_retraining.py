# SPDX-License-Identifier: BSD-3-Clause
"""The scientist's guide is typed in its order, with made-up stars and settings that train in seconds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from broker_plugin.bundle import open_bundle
from broker_plugin.pipeline.alert_files import read_alerts
from tests.support.artefacts import REPOSITORY
from tests.support.guides import Reader, blocks
from tests.trainer.synthetic import tiny_settings, write_catalogue, write_settings

GUIDE = REPOSITORY / "deploy/docs/retraining.md"

SETTINGS = "trainer/configs/quick.toml"


def test_it_can_be_typed_as_it_stands(tmp_path: Path, data_dir: Path) -> None:
    write_catalogue(tmp_path / "data", stars_per_class=100)
    others = write_catalogue(tmp_path / "others", stars_per_class=2, seed=4)
    shutil.copy(others, tmp_path / "held-out.parquet")
    tiny = write_settings(tiny_settings(), tmp_path / "tiny.toml")
    nights = tmp_path / "nights"
    nights.mkdir()
    shutil.copy(data_dir / "alerts/ztf/nocutouts.avro", nights)
    reader = Reader(tmp_path, instead={SETTINGS: str(tiny)})
    printed = [reader.read(block) for block in blocks(GUIDE, "sh")]

    fitted = open_bundle(tmp_path / "runs/fitted").manifest
    assert fitted.name == "tiny"
    assert (tmp_path / "report/report.html").stat().st_size > 10_000
    assert json.loads((tmp_path / "metrics.json").read_text())
    compared = json.loads((tmp_path / "compare.json").read_text())
    n_alerts = sum(1 for _ in read_alerts(nights))
    assert n_alerts in json.dumps(compared) or str(n_alerts) in json.dumps(compared)
    assert "mine" in printed[-1]
    journal = (tmp_path / "bundles/journal.jsonl").read_text().splitlines()
    told = [json.loads(line)["action"] for line in journal]
    assert told == ["add", "add", "promote", "promote", "rollback"]
