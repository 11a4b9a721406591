# SPDX-License-Identifier: BSD-3-Clause
"""`inspect` says what is in a file, whatever is in it."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from broker_plugin.bundle import installed_bundles
from broker_plugin.commands.inspect import inspect
from broker_plugin.errors import ConfigurationError

Shown = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Shown:
    """Call of `inspect --json` that returns the objects it printed."""

    def call(path: Path, **options: Any) -> list[dict[str, Any]]:
        inspect(str(path), as_json=True, **options)
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return call


def test_every_native_packet_is_shown(shown: Shown, data_dir: Path) -> None:
    for path in sorted((data_dir / "alerts/ztf/native").glob("*.avro"))[::20]:
        (alert,) = shown(path)
        assert alert["alert_key"] == f"ztf:{path.stem}"
        assert alert["access"] == ["public"]
        assert sum(row["n"] for row in alert["epochs"]) >= 1


def test_a_file_of_many_is_shown_up_to_its_limit(shown: Shown, data_dir: Path) -> None:
    path = data_dir / "alerts/lsst/lsst_v9_0_nocutouts.avro"
    assert len(shown(path, limit=12)) == 12
    assert {alert["schema"] for alert in shown(path, limit=500)} == {"lsst.v9_0"}


@pytest.mark.usefixtures("rubin_schemas")
def test_a_framed_message_is_shown_with_offline_schemas(shown: Shown, data_dir: Path) -> None:
    (alert,) = shown(data_dir / "alerts/lsst/raw/boom_confluent_wire/7912941781254298.avro")
    assert alert["object_id"] == "lsst:7912941781254298"
    assert alert["observed_utc"] == "2025-10-13T05:35:02.168Z"


@pytest.mark.parametrize("content", [b"", b"junk", b"Obj\x01junk", b"\0\0\0\0\1junk"])
def test_what_is_no_alert_is_shown_with_the_reason(shown: Shown, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.avro"
    path.write_bytes(content)
    (found,) = shown(path)
    assert found["rejected"] in ("empty", "undecodable", "unknown_schema")
    assert found["detail"]


def test_the_exit_status_says_that_something_was_rejected(
    capsys: pytest.CaptureFixture[str], data_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "odd.avro"
    path.write_bytes(b"junk")
    assert inspect(str(path)) == 1
    assert inspect(str(data_dir / "alerts/lsst/lsst_v9_0_nocutouts.avro"), limit=3) == 0
    assert "there are more than the 3 shown; give --limit N" in capsys.readouterr().err
    assert inspect(str(data_dir / "alerts/lsst/lsst_v9_0_nocutouts.avro"), limit=229) == 0
    assert capsys.readouterr().err == ""


def test_what_replay_reads_is_shown(shown: Shown, data_dir: Path, tmp_path: Path) -> None:
    packets = sorted((data_dir / "alerts/ztf/native").glob("*.avro"))[:3]
    night, table = tmp_path / "night.tar.gz", tmp_path / "night.parquet"
    with tarfile.open(night, "w:gz") as archive:
        for path in packets:
            archive.add(path, path.name)
    records = []
    for path in packets:
        with path.open("rb") as handle:
            records += [
                {k: v for k, v in r.items() if not k.startswith("cutout")} for r in fastavro.reader(handle)
            ]
    pq.write_table(pa.Table.from_pylist(records), table)
    expected = [f"ztf:{path.stem}" for path in packets]
    for path in (night, table, tmp_path):
        keys = [alert["alert_key"] for alert in shown(path)]
        assert keys == (expected * 2 if path == tmp_path else expected)


def test_a_damaged_file_is_shown_as_far_as_it_is_whole(shown: Shown, data_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.avro"
    path.write_bytes((data_dir / "alerts/lsst/lsst_v9_0_nocutouts.avro").read_bytes()[:-100])
    *alerts, defect = shown(path, limit=1000)
    assert len(alerts) > 100
    assert defect["rejected"] == "undecodable"


def test_tables_name_the_object_and_its_bands(capsys: pytest.CaptureFixture[str], data_dir: Path) -> None:
    inspect(str(data_dir / "alerts/lsst/raw/fink-client_v10_0/part-2-918301.avro"), limit=3)
    text = capsys.readouterr().out
    for word in ("lsst:", "detection", "forced", "apparent", "MJD", "reliability"):
        assert word in text


def test_a_bundle_is_shown_by_its_manifest(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    path = installed_bundles()["default"]
    (by_name,), (by_path,) = shown(Path("default")), shown(path)
    assert by_name == by_path
    assert by_name["digest"] == hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest()
    assert abs(sum(by_name["classes"].values()) - 1) < 1e-3  # shares are printed with a few digits
    inspect("default")
    text = capsys.readouterr().out
    assert by_name["digest"] in text
    assert all(name in text for name in (*by_name["strata"], *by_name["stream_strata"]))


def test_a_path_that_is_nothing_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="neither a file nor a bundle"):
        inspect(str(tmp_path / "nothing"))
