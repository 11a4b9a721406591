# SPDX-License-Identifier: BSD-3-Clause
"""A folder that cannot be written to is refused before any work, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker_plugin.errors import ConfigurationError
from tests.support.artefacts import REPOSITORY
from trainer.cli import make_app

QUICK = str(REPOSITORY / "trainer/configs/quick.toml")

BUILD = str(REPOSITORY / "trainer/configs/build.toml")


@pytest.mark.parametrize("place", ["file", "file/inside"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--config", QUICK, "--out"),
        ("train", "--config", QUICK, "--out", "run", "--bundle"),
        ("pretrain", "--config", QUICK, "--out"),
        ("finetune", "--config", QUICK, "--out"),
        ("fit-anomaly", "--alerts", "night.avro", "--out"),
        ("limited-labels", "--config", QUICK, "--out"),
        ("cross-survey", "--out"),
        ("build", "--config", BUILD, "--out"),
        ("reproduce", "--out"),
    ],
)
def test_a_folder_that_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASTROM3_DATA", "nowhere")
    Path("file").touch()
    with pytest.raises(ConfigurationError, match=r"cannot write file|file is there already"):
        make_app(arguments[0])([*arguments, place], result_action="return_value")
    assert not list(tmp_path.rglob("*.json"))


def test_a_report_that_cannot_be_is_refused_before_anything_is_scored(
    catalogue: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    data = str(catalogue / "lightcurves/catalina_sss.parquet")
    with pytest.raises(ConfigurationError, match="cannot write"):
        make_app("report")(
            ["report", "--data", data, "--out", str(tmp_path / "file")], result_action="return_value"
        )
