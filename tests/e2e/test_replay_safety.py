# SPDX-License-Identifier: BSD-3-Clause
"""`broker-plugin replay` destroys nothing, leaves nothing behind, and says when something is missing."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from broker_plugin.commands.replay import replay
from broker_plugin.errors import ConfigurationError
from broker_plugin.streams import output_files
from tests.e2e.test_replay import verdicts_of
from tests.support.artefacts import REPOSITORY
from tests.support.process import wait_until

Started = Callable[..., subprocess.Popen[str]]

DISK_BYTES = 20_000
"""Room for the verdicts of a few alerts."""

WITHOUT_ROOM = f"""
import sys
from tests.support.full_disk import full_disk
with full_disk({DISK_BYTES}):
    from broker_plugin.cli import main
    main(sys.argv[1:])
"""


@pytest.fixture
def packets(data_dir: Path, tmp_path: Path) -> list[Path]:
    """Copies of five packets, in a folder of their own."""
    folder = tmp_path / "alerts"
    folder.mkdir()
    natives = sorted((data_dir / "alerts/ztf/native").glob("*.avro"))[:5]
    return [Path(shutil.copy(path, folder)) for path in natives]


@pytest.fixture
def started() -> Iterator[Started]:
    """Starter of a replay that ends with the test, and its workers with it."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "broker_plugin", "replay", *map(str, arguments)]
        processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_an_input_is_never_an_output(packets: list[Path]) -> None:
    before = packets[0].read_bytes()
    folder, other = packets[0].parent, packets[0].with_name("v.jsonl")
    for given, out, dead in (
        (packets[0], packets[0], None),
        (folder, packets[0], None),
        (folder, other, packets[0]),
    ):
        with pytest.raises(ConfigurationError, match="is an input as well"):
            replay(given, out=out, dead_letters=dead)
    assert packets[0].read_bytes() == before
    assert sorted(folder.iterdir()) == packets


def test_the_limits_of_the_service_count_here_too(packets: list[Path], tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text("[limits]\nepochs = 1\n", "utf-8")
    out = tmp_path / "verdicts.jsonl"
    assert replay(packets[0].parent, out=out, config=config, device="cpu") == 0
    dead = (tmp_path / "verdicts.jsonl.dead.jsonl").read_text("utf-8").splitlines()
    assert len(verdicts_of(out)) + len(dead) == len(packets)
    assert dead
    assert all(json.loads(letter)["reason"] == "too_large" for letter in dead)


@pytest.mark.parametrize("workers", [1, 2])
def test_records_of_something_else_are_no_packets_and_one_alert_among_them_is(
    packets: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    classes, out = tmp_path / "classes.parquet", tmp_path / "verdicts.jsonl"
    pq.write_table(pa.Table.from_pylist([{"oid": "ZTF18abcdefg", "class_name": "RRL"}] * 3), classes)
    assert replay(classes, out=out, device="cpu", workers=workers) == 4
    assert "nothing here is an alert packet" in capsys.readouterr().err
    dead = (tmp_path / "verdicts.jsonl.dead.jsonl").read_text("utf-8").splitlines()
    assert {json.loads(letter)["reason"] for letter in dead} == {"missing_field"}
    assert replay(classes, packets[0], out=out, device="cpu", workers=workers) == 0


def test_files_without_any_packet_have_a_status_and_a_line_of_their_own(
    packets: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, out = tmp_path / "README.md", tmp_path / "verdicts.jsonl"
    page.write_text("# no packet\n")
    assert replay(page, out=out, device="cpu") == 4
    assert "nothing here is an alert packet" in capsys.readouterr().err
    assert (verdicts_of(out), len((tmp_path / "verdicts.jsonl.dead.jsonl").read_text().splitlines())) == (
        [],
        1,
    )
    assert replay(page, packets[0], out=out, device="cpu") == 0


def test_the_dead_letters_are_not_the_verdicts(packets: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "v.jsonl"
    with pytest.raises(ConfigurationError, match="each output its own"):
        replay(packets[0], out=out, dead_letters=out)
    assert not out.exists()


@pytest.mark.parametrize("suffix", ["avro", "parquet"])
def test_a_second_run_over_a_directory_leaves_the_verdicts_of_the_first_out(
    packets: list[Path], capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    out = packets[0].with_name(f"verdicts.{suffix}")
    assert replay(packets[0].parent, out=out) == 0
    assert "hold verdicts" not in capsys.readouterr().err
    assert replay(packets[0].parent, out=out) == 0
    said = capsys.readouterr().err
    assert "not read, since they hold verdicts" in said
    assert "5 verdicts in" in said
    assert "dead letter" not in said
    with pytest.raises(ConfigurationError, match="verdicts, not alerts"):
        replay(out, out=out.with_name("again.jsonl"))


def test_an_archive_that_was_cut_has_a_status_and_a_line_of_its_own(
    packets: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    night = tmp_path / "night.tar.gz"
    with tarfile.open(night, "w:gz") as archive:
        for path in packets:
            archive.add(path, path.name)
    night.write_bytes(night.read_bytes()[: night.stat().st_size // 2])
    out = tmp_path / "v.jsonl"
    assert replay(night, out=out) == 3
    said = capsys.readouterr().err
    assert "INCOMPLETE: an input ended early" in said
    assert f"{night}: the archive cannot be read after member" in said
    assert "1 dead letter in" in said
    assert 0 < len(verdicts_of(out)) < 5


def test_a_container_whose_header_is_damaged_has_them_too_beside_sound_packets(
    data_dir: Path, packets: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    night, out = packets[0].with_name("night.avro"), tmp_path / "v.jsonl"
    night.write_bytes((data_dir / "alerts/ztf/nocutouts.avro").read_bytes().replace(b"record", b"recorb", 1))
    assert replay(night.parent, out=out) == 3
    said = capsys.readouterr().err
    assert "INCOMPLETE: an input ended early" in said
    assert f"{night}: header: " in said
    assert len(verdicts_of(out)) == len(packets)


@pytest.mark.parametrize("suffix", ["jsonl", "avro", "parquet"])
def test_a_full_disk_leaves_nothing_and_no_traceback(data_dir: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"v.{suffix}"
    command = [sys.executable, "-c", WITHOUT_ROOM, "replay", str(data_dir / "alerts/ztf/native")]
    result = subprocess.run(
        [*command, "--out", str(out)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
        timeout=280,
    )
    assert result.returncode == 2, result.stderr
    assert f"cannot write {out}: File too large; make room" in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing_behind(
    data_dir: Path, tmp_path: Path, started: Started, number: signal.Signals, workers: int
) -> None:
    process = started(
        data_dir / "alerts/ztf/nocutouts.avro", "--out", tmp_path / "v.jsonl", "--workers", workers
    )
    wait_until(lambda: any(tmp_path.iterdir()), timeout_s=120, what="the replay writes")
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == -number
    assert "nothing was written, so start again" in said
    assert f"stopped by {number.name}" in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())
    assert not psutil.wait_procs(children, timeout=10)[1]


@pytest.mark.parametrize("when", ["written", "appearing"])
def test_a_signal_that_comes_when_all_is_written_changes_nothing(
    packets: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    when: str,
) -> None:
    (bad := packets[0].with_name("bad.avro")).write_bytes(b"no packet")
    appear = output_files._Output.appear

    def signalled(output: output_files._Output) -> None:
        if when == "appearing":
            signal.raise_signal(signal.SIGTERM)
        monkeypatch.undo()
        appear(output)
        if when == "written":
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(output_files._Output, "appear", signalled)
    out = tmp_path / "v.jsonl"
    assert replay(packets[0], bad, out=out) == 0
    assert "stopped" not in capsys.readouterr().err
    assert len(verdicts_of(out)) == 1
    assert out.with_name("v.jsonl.dead.jsonl").read_text().count("\n") == 1


def test_workers_end_with_a_parent_that_is_killed(data_dir: Path, tmp_path: Path, started: Started) -> None:
    process = started(data_dir / "alerts/ztf/nocutouts.avro", "--out", tmp_path / "v.jsonl", "--workers", 2)
    wait_until(lambda: any(tmp_path.iterdir()), timeout_s=120, what="the replay writes")
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.kill()
    # A worker ends at once; one that is still importing, on a loaded machine, when it has done so.
    assert not psutil.wait_procs(children, timeout=60)[1]


def test_a_worker_that_is_killed_is_said(data_dir: Path, tmp_path: Path, started: Started) -> None:
    process = started(data_dir / "alerts/ztf/nocutouts.avro", "--out", tmp_path / "v.jsonl", "--workers", 2)
    wait_until(lambda: any(tmp_path.iterdir()), timeout_s=120, what="the replay writes")
    for child in psutil.Process(process.pid).children():
        if "spawn_main" in " ".join(child.cmdline()):
            child.kill()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "use fewer --workers" in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("workers", [1, 2])
def test_what_cannot_be_opened_is_said_before_any_progress(
    packets: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], workers: int
) -> None:
    with pytest.raises(ConfigurationError, match="no bundle"):
        replay(packets[0], out=tmp_path / "v.jsonl", bundle="nowhere", workers=workers)
    assert capfd.readouterr().err == ""


def test_where_no_alert_became_a_verdict_that_is_said(
    packets: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "verdicts.jsonl"
    assert replay(packets[0], out=out, device="cpu", access="caltech") == 0
    assert "no alert became a verdict; " in capsys.readouterr().err
    assert verdicts_of(out) == []
