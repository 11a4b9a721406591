# SPDX-License-Identifier: BSD-3-Clause
"""`bench` keeps the packets that it reads, and says what a person must do as it is to be typed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from broker_plugin.cli import main
from broker_plugin.commands import bench as command
from tests.broker_plugin.benchmark.test_report import document


@pytest.fixture
def alerts(data_dir: Path, tmp_path: Path) -> Path:
    """A directory with one ZTF packet, and a subfolder with another."""
    first, second = sorted((data_dir / "alerts/ztf/native").glob("*.avro"))[:2]
    (tmp_path / "alerts/ztf/native").mkdir(parents=True)
    shutil.copy(first, tmp_path / "alerts/ztf/one.avro")
    shutil.copy(second, tmp_path / "alerts/ztf/native/two.avro")
    return tmp_path / "alerts"


@pytest.mark.parametrize("name", ["ztf/one.avro", "ztf/native/two.avro", "lsst/../ztf/one.avro"])
def test_no_output_takes_the_place_of_a_packet(
    alerts: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (alerts / "lsst").mkdir()
    before = (alerts / name).read_bytes()
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--alerts", str(alerts), "--json", str(alerts / name)])
    assert ended.value.code == 2
    assert "is an input as well" in capsys.readouterr().err
    assert (alerts / name).read_bytes() == before


def test_packets_in_the_other_surveys_folder_are_named(
    alerts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (alerts / "lsst").mkdir()
    shutil.copy(alerts / "ztf/one.avro", alerts / "lsst/astray.avro")
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--alerts", str(alerts), "--quick"])
    assert ended.value.code == 2
    assert "lsst/astray.avro holds ZTF's packets" in capsys.readouterr().err


def test_what_is_to_be_typed_is_shown_whole(
    alerts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = document(baseline={"missing": "the baseline needs torch; pip install '.[train]'"})
    monkeypatch.setattr(command, "run_bench", lambda *args, **options: found)
    command.bench(alerts=alerts)
    assert "pip install '.[train]'" in capsys.readouterr().err
